import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { META_CLIENT_CAPABILITIES, META_PROTOCOL_VERSION } from '../../../src/connection/protocol/metaKeys.js';
import { Gateway } from '../../../src/gateway/Gateway.js';
import { HeldBytes } from '../../../src/gateway/http/HeldBytes.js';
import { ReadingOrder } from '../../../src/gateway/http/request/ReadingOrder.js';
import { CALL_BYTES, readMessages } from '../../../src/gateway/rpc/readMessages.js';
import { StdioPool } from '../../../src/pool/StdioPool.js';
import { closeAfter } from '../../support/closeAfter.js';
import { countTurns } from '../../support/countTurns.js';
import { FakePool } from '../../support/FakePool.js';
import { exchange, RawClient } from '../../support/httpClient.js';

/** Large arguments are read in turns of the event loop, and arrive as they were sent. */

const bodyOf = (argsText: string): string =>
  `{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"echo","arguments":${argsText}}}`;
const TEXT = '\\"ü\\n€\\\\'.repeat(300_000);

test('each step of reading a large body is a turn of its own; meanwhile it counts as held, and without room it is refused', async () => {
  const body = bodyOf(`{"big":725653563933458433,"text":"${TEXT}"}`);
  const held = new HeldBytes(3 * body.length);
  const order = new ReadingOrder(held);
  const reading = order.read(body, {}, 'a');
  expect(held.held).toBe(CALL_BYTES + 2 * body.length);
  expect(order.read(body, {}, 'a')).toBeUndefined();
  using turns = countTurns();
  const read = await reading;
  expect(turns.count).toBeGreaterThanOrEqual(3);
  expect(held.held).toBe(0);
  expect(read).toEqual(readMessages(body, {}));
  for (const [text, status] of [
    [bodyOf(`{"text":"${TEXT}"`), 400],
    [bodyOf(`[${'[],'.repeat(300_000)}0]`), 413],
  ] as const) {
    expect(await order.read(text, {}, 'a')).toMatchObject({ status });
    expect(held.held).toBe(0);
  }
});

test('what waits behind a large body of its session counts as held, and without room is refused; the others keep their order', async () => {
  const body = bodyOf(`{"text":"${TEXT}"}`);
  const bytes = CALL_BYTES + 2 * body.length;
  const held = new HeldBytes(3.5 * bytes);
  const order = new ReadingOrder(held);
  const headers = { 'mcp-session-id': 's' };
  const read: number[] = [];
  const note = (at: number) => () => void read.push(at);
  const first = Promise.resolve(order.read(body, headers, 'a')).then(note(1));
  const second = Promise.resolve(order.read(body, headers, 'a')).then(note(2));
  expect(held.held).toBe(2 * bytes);
  expect(order.read(body, headers, 'a')).toBeUndefined();
  const small = Promise.resolve(order.read(bodyOf('{}'), headers, 'a')).then(note(3));
  expect(held.held).toBeGreaterThan(2 * bytes);
  await Promise.all([first, second, small]);
  expect(read).toEqual([1, 2, 3]);
  expect(held.held).toBe(0);
});

test.each(['/servers/one/mcp', '/mcp'])('large arguments come to their server as they were sent (%s)', async (path) => {
  const pool = closeAfter(new StdioPool());
  const args = [join(import.meta.dirname, '../../fixtures/large-server.mjs')];
  pool.addServer({ name: 'one', transport: 'stdio', command: process.execPath, args });
  const gateway = closeAfter(new Gateway({ pool, port: 0 }));
  const one = new RawClient(`${(await gateway.listen()).url}${path}`);
  await one.initialize();
  const name = path === '/mcp' ? 'one__echo' : 'echo';
  const body = bodyOf(`{"text":"${TEXT}"}`).replace('"echo"', `"${name}"`);
  const { text } = await exchange(one.url, { headers: one.headers, body });
  expect(text === `{"jsonrpc":"2.0","id":"a","result":{"content":[{"type":"text","text":"${TEXT}"}]}}`).toBe(true);
  const { status } = await exchange(one.url, { headers: one.headers, body: body.slice(0, -1) });
  expect(status).toBe(400);
});

test.each(['/servers/one/mcp', '/mcp'])('a large _meta is parsed once, with its message (%s)', async (path) => {
  const pool = new FakePool({ one: { methods: { 'tools/call': () => Promise.resolve({ content: [] }) } } });
  const gateway = closeAfter(new Gateway({ pool, port: 0 }));
  const name = path === '/mcp' ? 'one__echo' : 'echo';
  const meta = { [META_PROTOCOL_VERSION]: '2026-07-28', [META_CLIENT_CAPABILITIES]: {}, x: 'x'.repeat(100_000) };
  const params = { name, arguments: {}, _meta: meta };
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params });
  const headers = {
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
    'mcp-protocol-version': '2026-07-28',
    'mcp-method': 'tools/call',
    'mcp-name': name,
  };
  const url = `${(await gateway.listen()).url}${path}`;
  const parse = vi.spyOn(JSON, 'parse');
  const { status } = await exchange(url, { headers, body });
  const large = parse.mock.calls.filter(([text]) => text.length > 50_000).length;
  parse.mockRestore();
  expect([status, large]).toEqual([200, 1]);
});
