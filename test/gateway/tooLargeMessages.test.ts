import { expect, test, vi } from 'vitest';
import { MessageEdges } from '../../src/connection/channel/unread/MessageEdges.js';
import { messageAtEdges } from '../../src/connection/channel/unread/messageAtEdges.js';
import type { CallOptions } from '../../src/connection/protocol/messages.js';
import { Gateway } from '../../src/gateway/Gateway.js';
import { answerTo, bridgeTo, gateway as gatewayOf, request } from '../support/bridgeTo.js';
import { closeAfter } from '../support/closeAfter.js';
import { FakePool } from '../support/FakePool.js';
import { type Message, RawClient } from '../support/httpClient.js';
import { SseStream } from '../support/sseStream.js';
import { FRONTS, stdioClient } from '../support/stdioClient.js';

// Bodies of megabytes pass here, and the machine may be busy.
vi.setConfig({ testTimeout: 60_000 });

const LONG = 'x'.repeat(10_000);
const INIT = { protocolVersion: '2025-11-25', capabilities: { sampling: {} }, clientInfo: { name: 'c', version: '1' } };

test.each<[string, ReturnType<typeof messageAtEdges>]>([
  [`{"jsonrpc":"2.0","id":7,"method":"m","params":{"id":8,"s":"${LONG}"}}`, { kind: 'request', idText: '7' }],
  [`{"method":"m","params":{"s":"${LONG}"},"jsonrpc":"2.0","id":"a\\"b"}\r`, { kind: 'request', idText: '"a\\"b"' }],
  [
    ` { "id" : -1.5e3 , "params" : {"s":"${LONG}"}, "method":"m", "jsonrpc":"2.0" } `,
    { kind: 'request', idText: '-1.5e3' },
  ],
  [`{"result":{"s":"${LONG}"},"jsonrpc":"2.0","id":"q"}`, { kind: 'response', idText: '"q"' }],
  [`{"jsonrpc":"2.0","id":"é","error":{"data":"${LONG}"}}`, { kind: 'response', idText: '"é"' }],
  [`{"jsonrpc":"2.0","method":"m","params":{"s":"${LONG}","id":3}}`, undefined],
  [`{"jsonrpc":"2.0","method":"m","params":{"s":"${LONG}"}}`, undefined],
  [`{"jsonrpc":"2.0","method":"m","params":{"s":"${LONG},\\"id\\":3}"}}`, undefined],
  [`[{"jsonrpc":"2.0","id":1,"method":"m","params":{"s":"${LONG}"}}]`, undefined],
])('a message too large to be read is known by its edges: %#', (text, known) => {
  expect(messageAtEdges(new MessageEdges([Buffer.from(text)]))).toEqual(known);
});

const MAX_BYTES = 10_000;

/** The path of a server whose one tool asks its client, and tells what it heard. */
async function asking(maxBodyBytes = MAX_BYTES) {
  const call = async (_: unknown, { onRequest, signal = new AbortController().signal }: CallOptions) => {
    const asked = onRequest?.({ id: 1, method: 'sampling/createMessage', params: {} }, { signal });
    const heard = await asked?.then(String, (error: Error) => error.message);
    return { content: [{ type: 'text', text: heard }] };
  };
  const tools = [{ name: 'ask', inputSchema: { type: 'object' } }];
  const pool = new FakePool({ a: { methods: { 'tools/list': () => ({ tools }), 'tools/call': call } } });
  const gateway = closeAfter(new Gateway({ pool, port: 0, maxBodyBytes, sse: true }));
  const { url } = await gateway.listen();
  return { gateway, url: `${url}/servers/a/mcp` };
}

const CALL = { jsonrpc: '2.0', id: 7, method: 'tools/call', params: { name: 'ask' } };
const WHY = `the answer of the client was refused: a body may have ${MAX_BYTES} bytes`;
const ANSWERS: readonly [string, (id: unknown) => object][] = [
  ['with its id at the beginning', (id) => ({ jsonrpc: '2.0', id, result: { data: LONG.repeat(20) } })],
  ['with its id at the end', (id) => ({ result: { data: LONG.repeat(7) }, jsonrpc: '2.0', id })],
];
const textOf = ({ result }: Message = {}): unknown =>
  (result?.['content'] as { text: string }[] | undefined)?.[0]?.text;

test.each(ANSWERS)(
  'over HTTP a server hears at once that the answer of its client is too large: one %s',
  async (_, answer) => {
    const client = new RawClient((await asking()).url);
    await client.initialize('2025-11-25', { sampling: {} });
    const stream = await client.listen();
    const called = client.send(CALL, { accept: 'application/json' });
    const [question] = await stream.has(1);
    for (const headers of [{}, { 'transfer-encoding': 'chunked' }])
      expect((await client.send(answer(question?.id), headers)).status).toBe(413);
    expect(textOf((await called).messages[0])).toBe(WHY);
    await stream.stop();
  },
);

test('so it does of one that costs too much to read', async () => {
  const client = new RawClient((await asking(4_000_000)).url);
  await client.initialize('2025-11-25', { sampling: {} });
  const stream = await client.listen();
  const called = client.send(CALL, { accept: 'application/json' });
  const [question] = await stream.has(1);
  const values = Array.from({ length: 1_000_000 }, () => []);
  expect((await client.send({ result: { values }, jsonrpc: '2.0', id: question?.id })).status).toBe(413);
  expect(textOf((await called).messages[0])).toBe('the answer of the client was refused: the body has too many values');
  await stream.stop();
});

test.each(ANSWERS)('so it does over HTTP+SSE: one %s', async (_, answer) => {
  const stream = await SseStream.open((await asking()).url.replace(/mcp$/, 'sse'));
  await stream.post({ id: 1, method: 'initialize', params: INIT });
  await stream.until(() => stream.messages.length === 1);
  expect(await stream.post(CALL)).toBe(202);
  await stream.until(() => stream.messages.length === 2);
  expect(await stream.post(answer(stream.messages[1]?.id))).toBe(413);
  await stream.until(() => stream.messages.length === 3);
  expect(textOf(stream.messages[2])).toBe(WHY);
  stream.cut();
});

test.each(FRONTS)('over %s a message that is too large ends in an error on the side that waits', async (front) => {
  const { gateway, url } = await asking();
  const { send, said, end } = await stdioClient(front, gateway, url, MAX_BYTES);
  send({ method: 'tools/call', params: { name: 'ask', arguments: { data: LONG } }, jsonrpc: '2.0', id: 'c' });
  const message = expect.stringMatching(/^server "gateway": outgoing message of \d+ bytes, 10000 allowed$/);
  expect(await said()).toMatchObject({ id: 'c', error: { message, data: { code: 'ERR_MESSAGE_TOO_LARGE' } } });
  for (const [, answer] of ANSWERS) {
    send(CALL);
    send(answer((await said()).id));
    expect(textOf(await said())).toEqual(message);
  }
  await end();
});

test('an answer that finds no room in connect, and has an id that no gateway gave, ends nothing', async () => {
  const server = gatewayOf((res, { id, method }) => {
    if (method !== 'hang') res.writeHead(200, { 'content-type': 'application/json' }).end(answerTo(id));
  });
  const { send, answered, end } = await bridgeTo(server, { maxBufferedBytes: 20_000 });
  send(request(1, 'hang'));
  send({ jsonrpc: '2.0', id: LONG.repeat(2), result: {} });
  send(request(2, 'ping'));
  expect((await answered(1))[0]).toMatchObject({ id: 2, result: {} });
  await end();
});
