import { afterEach, expect, test, vi } from 'vitest';
import { innerCall, withFixed } from '../../src/gateway/curation/searchedCall.js';
import { light } from '../../src/gateway/rpc/light.js';

afterEach(() => vi.restoreAllMocks());

test('long arguments are not parsed for call_tool and fixed ones; all that read them in one turn share what they say', () => {
  const long = 'x'.repeat(100_000);
  const given = { name: 'call_tool', arguments: { name: 's__t', arguments: { long } } };
  const text = JSON.stringify(given);
  const { params } = light(given, text) ?? {};
  const parse = vi.spyOn(JSON, 'parse');
  const call = withFixed(innerCall({ params, paramsText: text }), { f: true });
  expect(parse.mock.calls.filter(([each]) => each.length > 1_000)).toEqual([]);
  expect(call.params?.['arguments']).toBe(call.params?.['arguments']);
  expect(parse.mock.calls.filter(([each]) => each.length > 1_000)).toHaveLength(1);
  expect(call.params).toEqual({ name: 's__t', arguments: { long, f: true } });
  expect(JSON.parse(call.paramsText ?? '')).toEqual(call.params);
});
