import fc from 'fast-check';
import { expect, test } from 'vitest';
import { scanReply } from '../../../src/connection/channel/codec/envelope.js';
import { skipJson } from '../../../src/connection/channel/codec/skipJson.js';
import { RUNS, RUNS_TIMEOUT_MS } from '../../support/runs.js';

const parses = (text: string): boolean => {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
};
const whole = (text: string): boolean => {
  const bytes = Buffer.from(text);
  return skipJson(bytes, 0) === bytes.length;
};

test(
  'it takes what JSON.parse takes, and refuses what it refuses, for values with one character changed or lost',
  () =>
    fc.assert(
      fc.property(
        fc.json({ maxDepth: 5 }),
        fc.nat(),
        fc.constantFrom('', '{', ']', '"', '\\', ',', ':', '0', '-', '.', 'e', 'n', '\u0001', '\n', 'é', ' '),
        fc.boolean(),
        (json, place, char, replace) => {
          expect(whole(json)).toBe(true);
          const at = json.length === 0 ? 0 : place % json.length;
          const odd = (json.slice(0, at) + char + json.slice(at + (replace ? 1 : 0))).trim();
          expect(whole(odd)).toBe(parses(odd));
        },
      ),
      { numRuns: RUNS * 10 },
    ),
  RUNS_TIMEOUT_MS,
);

test('odd numbers, escapes, literals and depths', () => {
  for (const text of [
    '01',
    '-',
    '1.',
    '.5',
    '1e',
    '1e+',
    '+1',
    'NaN',
    'Infinity',
    'tru',
    'nul',
    'True',
    '"\\x"',
    '"\\u12g4"',
  ]) {
    expect([text, whole(text)]).toEqual([text, false]);
  }
  for (const text of ['-0', '0.5', '1E-7', '"\\u00e9\\n\\/"', '[ ]', '{ }', '[1 , 2]']) {
    expect([text, whole(text)]).toEqual([text, true]);
  }
  expect(whole(`${'['.repeat(100_000)}${']'.repeat(100_000)}`)).toBe(true);
  expect(whole('{]')).toBe(false);
  expect(whole('[}')).toBe(false);
});

test('a reply is scanned only when all of it is JSON', () => {
  for (const tail of [' x', ' {}', ',', '']) {
    const line = Buffer.from(`{"jsonrpc":"2.0","id":1,"result":{"a":[1]}}${tail}`);
    expect(scanReply(line) !== undefined).toBe(tail === '');
  }
  for (const result of ['{]', 'NaN', '"\u0001"', '{} {}', '{"a":1,}', '']) {
    expect(scanReply(Buffer.from(`{"jsonrpc":"2.0","id":1,"result":${result}}`))).toBeUndefined();
  }
  expect(scanReply(Buffer.from('{"id":1,"result":"\xff"}', 'latin1'))).toBeUndefined();
});
