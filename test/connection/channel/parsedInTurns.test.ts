import { expect, test, vi } from 'vitest';
import { parsedInTurns } from '../../../src/connection/channel/large/parsedInTurns.js';
import { ProtocolError } from '../../../src/core/errors.js';
import { countTurns } from '../../support/countTurns.js';

const items = Array.from({ length: 9_000 }, (_, at) => ({ name: `é "${at}"`, of: [at, { '}': '],' }], 語: null })); // ~ 500 KB
const long = JSON.stringify(items);
const short = '[1,{"a":"]"}]';

test.each([
  ['a list', `{"tools":${long},"nextCursor":"n"}`],
  ['blanks everywhere', `{ "a" : 1 , "tools" :\n[ ${long.slice(1, -1)} ] , "b":[ ] }`],
  ['two lists', `{"a":${long},"b":"a","c":${long}}`],
  ['a name that comes again, long', `{"a":${short},"a":${long}}`],
  ['a name that comes again, short', `{"a":${long},"a":${short},"\\u0062":${long},"b":{}}`],
  ['the name of a prototype', `{"__proto__":${long}}`],
  ['lists further inside, and none', `{"a":{"b":${long}},"c":${long.slice(0, -1)},[${long}]]}`],
  ['an array', long],
  ['a list of lists', `{"a":[${long},${long}]}`],
  ['a string', JSON.stringify(long)],
])('what an answer says is what any parser reads: %s', async (_, text) => {
  const parsed = await parsedInTurns('s', Buffer.from(text));
  expect(Object.getPrototypeOf(parsed)).toBe(Object.getPrototypeOf(JSON.parse(text)));
  expect(JSON.stringify(parsed)).toBe(JSON.stringify(JSON.parse(text)));
});

test('a long list is parsed a few items at a time, in turns of the event loop, and what is no bytes is told as it is', async () => {
  const parse = vi.spyOn(JSON, 'parse');
  using turns = countTurns();
  const list = Buffer.from(`{"tools":[${Array.from({ length: 60 }, () => long.slice(1, -1)).join()}]}`).subarray(0, -2);
  await parsedInTurns('s', Buffer.concat([list.subarray(0, 7_000_000), Buffer.from('"}]}')])).catch(() => undefined);
  expect(turns.count).toBeGreaterThan(1);
  for (const [text] of parse.mock.calls) expect(String(text).length).toBeLessThan(64 * 1_024);
  parse.mockRestore();
  expect(await parsedInTurns('s', items)).toBe(items);
});

test('one item of too many values, and too many of all, are refused; neither are parsed', async () => {
  const many = (count: number): string => `[${'{},'.repeat(count)}0]`;
  const parse = vi.spyOn(JSON, 'parse');
  const one = Buffer.from(`{"tools":[1,${many(100_000)},2]}`);
  await expect(parsedInTurns('s', one)).rejects.toThrow(ProtocolError);
  const all = Buffer.from(`{"tools":${many(900_000)}}`);
  await expect(parsedInTurns('s', all)).rejects.toThrow('too many values');
  await expect(parsedInTurns('s', Buffer.alloc(9_000_000))).rejects.toMatchObject({ code: 'ERR_MESSAGE_TOO_LARGE' });
  for (const [text] of parse.mock.calls) expect(String(text).length).toBeLessThan(64 * 1_024);
  parse.mockRestore();
});
