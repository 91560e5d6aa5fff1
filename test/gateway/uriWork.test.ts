import { expect, test } from 'vitest';
import { UriOwners } from '../../src/gateway/aggregate/uris/UriOwners.js';
import { fits, parseUriTemplate, workOfMessage } from '../../src/gateway/aggregate/uris/uriTemplates.js';
import type { Downstream } from '../../src/gateway/endpoint/Endpoint.js';
import { parseAnswer } from '../../src/gateway/rpc/parseAnswer.js';

const session = {} as Downstream;

test('the templates of a message get so much work, and no more', () => {
  const template = parseUriTemplate(`{a}${'/{b}'.repeat(49)}`);
  const work = workOfMessage();
  const fitting = `x${'/y'.repeat(49)}`;
  expect(fits(template, fitting, work)).toBe(true);
  let rounds = 0;
  while (fits(template, fitting, work)) rounds++;
  expect(rounds).toBeGreaterThan(100);
  expect(rounds).toBeLessThan(1_000);
  // A text that does not begin like the template costs nothing.
  expect(fits(parseUriTemplate('file:///{path}'), 'http://x', work)).toBe(false);
  expect(fits(template, fitting, workOfMessage())).toBe(true);
});

test('what is remembered of URIs is bounded in characters, and long ones are not remembered', () => {
  const owners = new UriOwners();
  const uri = (at: number): string => `${at}:${'x'.repeat(8_000)}`;
  owners.set(`x:${'x'.repeat(8_192)}`, 's', session, true);
  expect(owners.get(`x:${'x'.repeat(8_192)}`, session)).toBeUndefined();
  for (let at = 0; at < 200; at++) owners.set(uri(at), 's', session, false);
  expect(owners.get(uri(199), session)).toBe('s');
  expect(owners.get(uri(0), session)).toBeUndefined();
  const known = Array.from({ length: 200 }, (_, at) => owners.get(uri(at), session)).filter(Boolean);
  expect(known.length).toBeLessThan(132);
  expect(known.length).toBeGreaterThan(100);
});

test('an answer that would take long to read is refused', () => {
  expect(parseAnswer('{"a":[1]}')).toEqual({ a: [1] });
  expect(() => parseAnswer(`[${'{},'.repeat(1_500_000)}1]`)).toThrow('too many values');
});
