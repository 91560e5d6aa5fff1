import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { silentLogger } from '../../../src/core/logger.js';
import { FaultProxy } from '../../../src/testing/proxy/FaultProxy.js';
import { closeAfter } from '../../support/closeAfter.js';

/** Messages that cost more than they look: a proxy passes them on, and is there for the next. */

const nested = (levels: number): string => '['.repeat(levels) + ']'.repeat(levels);
const COSTLY = nested(1e6);
const DEEP = nested(20_000);
const call = (value = '1'): string =>
  `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":${value}}}`;
const reply = (value: string): string => `{"jsonrpc":"2.0","id":1,"result":{"deep":${value}}}`;

/** A server that answers each POST as it is told, on its own response or on the stream of HTTP+SSE, and a proxy in front of it. */
async function proxied(fault: 'lie' | 'wrongId' | 'cutStream' | 'error') {
  const next = { type: 'application/json', body: reply('1') };
  const heard: string[] = [];
  let stream: ServerResponse | undefined;
  const server = createServer(async (req, res) => {
    if (req.method === 'GET') {
      stream = res.writeHead(200, { 'content-type': 'text/event-stream' });
      res.write('event: endpoint\ndata: /post\n\n');
      return;
    }
    heard.push(await text(req));
    if (req.url === '/post') {
      res.writeHead(202).end();
      stream?.write(next.body);
    } else res.writeHead(200, { 'content-type': next.type }).end(next.body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closeAfter({ close: () => new Promise<void>((resolve) => server.close(() => resolve())) });
  const told: string[] = [];
  const logger = { ...silentLogger, warn: (_: unknown, what = '') => void told.push(what) };
  const upstream = `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`;
  const proxy = closeAfter(await FaultProxy.listen({ upstream, plan: { rules: [{ tool: 'x', fault }] }, logger }));
  return { proxy, next, heard, told };
}

const post = async (url: string | URL, body: string): Promise<readonly [string | null, string]> => {
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(url, { method: 'POST', headers, body });
  return [response.headers.get('content-type'), await response.text()];
};

const TOO_MANY = /of the server, of \d+ bytes, has too many values/;

test.each([
  ['lie', 'application/json', reply(COSTLY), true],
  ['cutStream', 'application/json', reply(COSTLY), true],
  ['lie', 'text/event-stream', `event: message\ndata: ${reply(COSTLY)}\n\n`, true],
  ['lie', 'text/event-stream', `${'data:\n'.repeat(65_537)}data: ${reply('1')}\n\n`, true],
  ['lie', 'application/json', reply(DEEP), false],
  ['wrongId', 'text/event-stream', `event: message\ndata: ${reply(DEEP)}\n\n`, false],
] as const)(
  '%s: an answer as %s passes as it came when it cannot be read, or not be changed',
  async (fault, type, body, unread) => {
    const { proxy, next, told } = await proxied(fault);
    Object.assign(next, { type, body });
    const [given, said] = await post(proxy.url, call());
    expect(given).toBe(type);
    // No diff of megabytes.
    expect(said === body).toBe(true);
    expect(told).toEqual(unread ? [expect.stringMatching(TOO_MANY)] : []);
    Object.assign(next, { type: 'application/json', body: reply('{"text":"abc"}') });
    if (fault === 'lie') expect((await post(proxy.url, call()))[1]).toContain('a lie');
  },
);

test('a request with too many values passes as it came, and no fault befalls it', async () => {
  const { proxy, heard, told } = await proxied('error');
  expect((await post(proxy.url, call(COSTLY)))[1]).toBe(reply('1'));
  expect(heard.map((each) => each === call(COSTLY))).toEqual([true]);
  expect(told).toEqual([expect.stringMatching(/of the client, of 2000\d+ bytes/)]);
  expect(proxy.events).toEqual([]);
  expect((await post(proxy.url, call()))[1]).toContain('the fault plan failed it');
});

test('over HTTP+SSE such answers pass, and the stream goes on', async () => {
  const { proxy, next, told } = await proxied('lie');
  const { body } = await fetch(proxy.url, { headers: { accept: 'text/event-stream' } });
  const reader = (body as ReadableStream<Uint8Array>).pipeThrough(new TextDecoderStream()).getReader();
  let said = '';
  const until = async (end: string): Promise<string> => {
    while (!said.endsWith(end)) said += (await reader.read()).value ?? expect.fail('the stream has ended');
    const all = said;
    said = '';
    return all;
  };
  await until('/post\n\n');
  for (const value of [COSTLY, DEEP]) {
    next.body = `event: message\ndata: ${reply(value)}\n\n`;
    await post(new URL('/post', proxy.url), call());
    expect((await until('\n\n')) === next.body).toBe(true);
  }
  expect(told).toEqual([expect.stringMatching(TOO_MANY)]);
  next.body = `data: ${reply('{"text":"abc"}')}\n\n`;
  await post(new URL('/post', proxy.url), call());
  expect(await until('\n\n')).toContain('cba (a lie)');
  await reader.cancel();
});
