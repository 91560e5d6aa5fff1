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
])('Accept %j takes JSON: %j', (header, takes) => {
  expect(accepts(header, JSON_TYPE)).toBe(takes);
});
