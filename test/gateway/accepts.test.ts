import { expect, test } from 'vitest';
import { accepts } from '../../src/gateway/http/request/accepts.js';

const JSON_TYPE = 'application/json';

test.each([
  [undefined, true],
  ['application/json, text/event-stream', true],
  ['Application/JSON', true],
  ['*/*', true],
  ['application/*;q=0.5', true],
  ['text/html, */*;q=0.1', true],
  ['application/json; charset=utf-8', true],
  ['application/json;q=0, */*', false],
  ['*/*;q=0', false],
  ['text/event-stream', false],
  ['text/*', false],
  ['application/jsonp', false],
  ['', false],
  // Of more than 64 ranges the rest is not read, nor more than 8 parameters of one.
  [`${'a/b,'.repeat(63)}application/json`, true],
  [`${'a/b,'.repeat(64)}application/json`, false],
  [`application/json${';x=1'.repeat(7)};q=0`, false],
  [`application/json${';x=1'.repeat(8)};q=0`, true],
])('Accept %j takes JSON: %j', (header, takes) => {
  expect(accepts(header, JSON_TYPE)).toBe(takes);
});
