import { once } from 'node:events';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { Gateway } from '../../../src/gateway/Gateway.js';
import type { GatewayOptions } from '../../../src/gateway/GatewayOptions.js';
import type { Authenticate } from '../../../src/gateway/users/Authenticate.js';
import { closeAfter } from '../../support/closeAfter.js';
import { FakePool } from '../../support/FakePool.js';
import { EventReader, type Message, RawClient } from '../../support/httpClient.js';
import { SseStream } from '../../support/sseStream.js';

const CAPABILITIES = { sampling: {} };
const CALL = { method: 'tools/call', params: { name: 'ask', arguments: {} } };
const answerTo = (asked: Message | undefined) => ({ jsonrpc: '2.0', id: asked?.id, result: { model: 'm' } });
const isQuestion = ({ method }: Message): boolean => method === 'sampling/createMessage';

/** A gateway whose server asks within each call, in a host's server, which goes on to listen when the gateway closes. */
async function asking(options: Partial<GatewayOptions> = {}) {
  const ended: unknown[] = [];
  const pool = new FakePool({
    a: {
      capabilities: { tools: {} },
      methods: {
        'tools/call': (_, { onRequest, signal = new AbortController().signal }) => {
          const answer = onRequest?.({ id: 1, method: 'sampling/createMessage', params: {} }, { signal });
          answer?.catch((error: unknown) => ended.push(error));
          return answer;
        },
      },
    },
  });
  const gateway = closeAfter(new Gateway({ pool, port: 0, sse: true, ...options }));
  const host = createServer(gateway.handler).listen(0, '127.0.0.1');
  await once(host, 'listening');
  closeAfter({
    close: async () => {
      host.closeAllConnections();
      await new Promise((resolve) => host.close(resolve));
    },
  });
  const url = `http://127.0.0.1:${(host.address() as AddressInfo).port}/servers/a`;
  return { gateway, ended, url };
}

/** What comes on the stream of a call. */
const streamOf = ({ url, headers }: RawClient, call: object): Promise<EventReader> =>
  new Promise((resolve, reject) => {
    const outgoing = request(url, { method: 'POST', headers, agent: false }, (incoming) =>
      resolve(new EventReader(incoming.setEncoding('utf8'))),
    );
    outgoing.on('error', reject).end(JSON.stringify({ jsonrpc: '2.0', id: 9, ...call }));
  });

const REFUSED = { status: 503, headers: { 'mcp-poolkit-refused': 'closing' } };

test('while it closes an answer that a call waits for is taken, and new requests are refused', async () => {
  const authenticate: Authenticate = async ({ headers }) => {
    await new Promise(setImmediate);
    return headers.authorization === 'anna' ? { principal: 'anna' } : undefined;
  };
  const { gateway, url } = await asking({ authenticate });
  const client = new RawClient(`${url}/mcp`, { authorization: 'anna' });
  await client.initialize(undefined, CAPABILITIES);
  const stream = await streamOf(client, CALL);
  const [asked] = await stream.has(1);
  const ANSWER = answerTo(asked);
  const closing = gateway.close({ graceMs: 60_000 });
  for (const refused of [
    { jsonrpc: '2.0', id: 7, method: 'tools/list' },
    { jsonrpc: '2.0', id: 7, method: 'initialize', params: {} },
    [ANSWER, { jsonrpc: '2.0', id: 7, method: 'tools/list' }],
  ]) {
    expect(await client.send(refused)).toMatchObject(REFUSED);
  }
  expect((await client.send(ANSWER, { authorization: 'bert' })).status).toBe(401);
  expect(await client.send(ANSWER)).toMatchObject({ status: 202 });
  expect((await stream.has(2))[1]).toMatchObject({ id: 9, result: { model: 'm' } });
  await closing;
  expect(await client.send(ANSWER)).toMatchObject(REFUSED);
});

test('while it closes a call can be cancelled', async () => {
  const { gateway, ended, url } = await asking();
  const client = new RawClient(`${url}/mcp`);
  await client.initialize(undefined, CAPABILITIES);
  const stream = await streamOf(client, CALL);
  await stream.has(1);
  const closing = gateway.close({ graceMs: 60_000 });
  const params = { requestId: 9 };
  expect(await client.send({ jsonrpc: '2.0', method: 'notifications/cancelled', params })).toMatchObject({
    status: 202,
  });
  await Promise.all([stream.ended, closing]);
  expect(ended).toHaveLength(1);
});

test('the same over HTTP+SSE', async () => {
  const { gateway, url } = await asking();
  const stream = await SseStream.open(`${url}/sse`);
  const params = { protocolVersion: '2024-11-05', capabilities: CAPABILITIES, clientInfo: { name: 'o', version: '1' } };
  await stream.ask(1, { method: 'initialize', params });
  expect(await stream.post({ id: 2, ...CALL })).toBe(202);
  await stream.until(() => stream.messages.some(isQuestion));
  const closing = gateway.close({ graceMs: 60_000 });
  expect(await stream.post({ id: 3, method: 'tools/list' })).toBe(503);
  expect(await stream.post(answerTo(stream.messages.find(isQuestion)))).toBe(202);
  expect(await stream.answer(2)).toMatchObject({ result: { model: 'm' } });
  await closing;
});

test('the same over stdio', async () => {
  const { gateway } = await asking();
  const [input, output] = [new PassThrough(), new PassThrough()];
  const heard = new Map<unknown, Message>();
  let text = '';
  output.setEncoding('utf8').on('data', (chunk: string) => {
    const lines = (text + chunk).split('\n');
    text = lines.pop() ?? '';
    for (const message of lines.map((line) => JSON.parse(line) as Message)) heard.set(message.id, message);
  });
  const over = gateway.serveStdio({ input, output, path: '/servers/a/mcp', graceMs: 60_000 });
  const say = (message: object): unknown => input.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
  const params = { protocolVersion: '2025-11-25', capabilities: CAPABILITIES, clientInfo: { name: 'p', version: '1' } };
  say({ id: 1, method: 'initialize', params });
  await expect.poll(() => heard.get(1)?.result).toBeDefined();
  say({ method: 'notifications/initialized' });
  say({ id: 2, ...CALL });
  const question = (): Message | undefined => [...heard.values()].find(isQuestion);
  await expect.poll(question).toBeDefined();
  const closing = gateway.close({ graceMs: 60_000 });
  say({ id: 3, method: 'tools/list' });
  await expect.poll(() => heard.get(3)?.error?.data).toMatchObject({ code: 'ERR_CLOSED' });
  say(answerTo(question()));
  await expect.poll(() => heard.get(2)?.result).toMatchObject({ model: 'm' });
  await Promise.all([closing, over]);
});
