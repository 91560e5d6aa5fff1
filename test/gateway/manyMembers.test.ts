import type { IncomingMessage } from 'node:http';
import { PassThrough } from 'node:stream';
import { afterEach, expect, test, vi } from 'vitest';
import { membersOf } from '../../src/connection/channel/codec/members.js';
import { Gateway } from '../../src/gateway/Gateway.js';
import { HeldBytes } from '../../src/gateway/http/HeldBytes.js';
import { ReadingOrder } from '../../src/gateway/http/request/ReadingOrder.js';
import { readBody } from '../../src/gateway/http/request/readBody.js';
import { type ReadMessages, readMessages } from '../../src/gateway/rpc/readMessages.js';
import { collectGarbage } from '../support/collectGarbage.js';
import { FakePool } from '../support/FakePool.js';
import { RawClient } from '../support/httpClient.js';

const KIB = 1_024;
let gateway: Gateway | undefined;
afterEach(() => gateway?.close());

/** How many strings are compared and read with an object of so many members; time is not measured in tests. */
function workOf(members: number): number {
  const text = `{${Array.from({ length: members }, (_, at) => `"k${at}":1`).join(',')}}`;
  let reads = 0;
  const { charCodeAt } = String.prototype;
  const { some } = Array.prototype;
  Array.prototype.some = function (this: unknown[], test: (value: unknown, at: number, all: unknown[]) => unknown) {
    return some.call(this, (value, at, all) => {
      reads++;
      return test(value, at, all);
    });
  };
  String.prototype.charCodeAt = function (this: string, at: number) {
    reads++;
    return charCodeAt.call(this, at);
  };
  try {
    expect(membersOf(text)).toHaveLength(members);
  } finally {
    Array.prototype.some = some;
    String.prototype.charCodeAt = charCodeAt;
  }
  return reads;
}

test('an object of twice as many members is twice as much work, not four times', () => {
  const [small, large] = [workOf(2_000), workOf(4_000)];
  expect(large / small).toBeLessThan(2.5);
});

test('a key that comes twice is found, also where backslashes hide it', () => {
  expect(membersOf('{"a":1,"b":2,"a":3}')).toBeUndefined();
  expect(membersOf(String.raw`{"a":1,"\u0061":3}`)).toBeUndefined();
});

function read(text: string): ReadMessages {
  const said = readMessages(text, {});
  if ('failure' in said) throw new Error(said.failure.message);
  return said;
}

const bodyWith = (args: string): string =>
  `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":${args}}}`;
const nested = (count: number): string => `{"x":[${'[],'.repeat(count)}[]]}`;

test('long arguments are held as their text, which is parsed once in each turn in which it is read', async () => {
  const text = bodyWith(nested(10_000));
  const said = read(text);
  const [message] = said.messages;
  if (message?.kind !== 'request') throw new Error('a request was expected');
  expect(message.params?.['name']).toBe('x');
  const first = message.params?.['arguments'] as { x: unknown[] };
  expect(first.x).toHaveLength(10_001);
  expect(message.params?.['arguments']).toBe(first);
  await new Promise((resolve) => setImmediate(resolve));
  collectGarbage();
  expect(message.params?.['arguments']).toEqual(first);
  expect(message.params?.['arguments']).not.toBe(first);
  expect(said.heldBytes).toBeLessThan(3.1 * text.length + 10_000);
});

test('what is kept as values counts as that: arrays of messages, names that come twice, many short members', () => {
  const pad = nested(10_000);
  const many = `{${Array.from({ length: 5_000 }, (_, at) => `"k${at}":[[],[]]`).join(',')}}`;
  for (const text of [
    `[${bodyWith(pad)}]`,
    `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","name":"y","arguments":${pad}}}`,
    `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":${many}}`,
  ]) {
    expect(read(text).heldBytes).toBeGreaterThan(16 * text.length);
  }
});

test.each([
  ['arrays', '[],', 300_000],
  ['objects of one shape', '{},', 300_000],
  ['objects each of a shape of its own', undefined, 40_000],
  ['numbers', '1,', 1_200_000],
])('a body of too many %s is refused before it is parsed', (_, unit, count) => {
  const units = unit?.repeat(count) ?? Array.from({ length: count }, (_each, at) => `{"k${at}":1},`).join('');
  const said = readMessages(bodyWith(`{"x":[${units}0]}`), {});
  expect(said).toMatchObject({ status: 413, failure: { code: -32_600, message: 'the body has too many values' } });
});

test('long texts, and many objects of one shape, are not too many values', () => {
  const rows = JSON.stringify(Array.from({ length: 40_000 }, (_, id) => ({ id, name: `row "${id}" {[,:`, on: true })));
  expect(read(bodyWith(`{"rows":${rows}}`)).messages).toHaveLength(1);
  expect(read(bodyWith(JSON.stringify({ text: '{[,:\\"'.repeat(500_000) }))).messages).toHaveLength(1);
});

test('of bodies that become whole at once only so many are read in a turn, and those of a session in their order', async () => {
  const held = new HeldBytes(2 ** 26);
  const order = new ReadingOrder(held);
  const body = bodyWith(`{"x":[${'1,'.repeat(150_000)}1]}`);
  const all = Array.from({ length: 40 }, () => order.read(body, {}, 'a'));
  const headers = { 'mcp-session-id': 's' };
  const over: string[] = [];
  const behind = [body, bodyWith('{}')].map((text) =>
    Promise.resolve(order.read(text, headers, 'a')).then((read) => {
      over.push(read !== undefined && 'messages' in read && text === body ? 'large' : 'small');
    }),
  );
  const later = all.filter((each) => each instanceof Promise);
  expect(later.length).toBeGreaterThan(20);
  expect(held.held).toBeGreaterThan(2 * body.length * later.length);
  for (const read of await Promise.all(all)) expect(read).toMatchObject({ messages: [{ kind: 'request' }] });
  await Promise.all(behind);
  expect(over).toEqual(['large', 'small']);
  expect(held.held).toBe(0);
});

test('an array of too many messages is refused', () => {
  expect(readMessages(`[${'1,'.repeat(100)}1]`, {})).toMatchObject({ status: 400 });
});

test.each(['/servers/one/mcp', '/mcp'])('long arguments arrive whole at %s', async (path) => {
  const asked: unknown[] = [];
  const pool = new FakePool({
    one: {
      lists: { tools: [{ name: 'x', inputSchema: { type: 'object' } }] },
      methods: {
        'tools/call': (params) => {
          asked.push(params);
          return { content: [] };
        },
      },
    },
  });
  gateway = new Gateway({ pool, port: 0, maxBufferedBytes: 2_048 * KIB });
  const client = new RawClient(`${(await gateway.listen()).url}${path}`);
  await client.initialize();
  const args = JSON.parse(nested(2_000)) as unknown;
  const name = path === '/mcp' ? 'one__x' : 'x';
  expect(await client.call('tools/call', { name, arguments: args, _meta: { progressToken: 7 } })).toMatchObject({
    result: { content: [] },
  });
  expect(asked).toEqual([expect.objectContaining({ name: 'x', arguments: args })]);
});

test('a large body that is whole is made into text in a turn of its own, not as its last byte comes', async () => {
  const held = new HeldBytes(100_000_000);
  const text = bodyWith(JSON.stringify({ x: 'é'.repeat(300_000) }));
  const request = Object.assign(new PassThrough(), { headers: { 'content-type': 'application/json' } });
  const reading = readBody(request as unknown as IncomingMessage, {
    maxBytes: 1_000_000,
    timeoutMs: 60_000,
    held,
    owner: '',
  });
  const joined = vi.spyOn(Buffer, 'concat');
  try {
    request.write(text.slice(0, 200_000));
    request.end(text.slice(200_000));
    const body = await reading;
    if (!('text' in body)) throw new Error('a text was expected');
    expect(joined).not.toHaveBeenCalled();
    expect(await new ReadingOrder(held).read(body.text, {}, '')).toMatchObject({
      messages: [{ method: 'tools/call' }],
    });
    expect(joined).toHaveBeenCalledTimes(1);
  } finally {
    joined.mockRestore();
  }
  expect(held.held).toBe(0);
});
