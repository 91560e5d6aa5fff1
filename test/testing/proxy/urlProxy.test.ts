import { once } from 'node:events';
import { request } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { expect, test } from 'vitest';
import { OptionError } from '../../../src/core/errors.js';
import { fakeServer } from '../../../src/testing/fake/FakeServer.js';
import { META_CALL } from '../../../src/testing/faults/events.js';
import type { FaultRule } from '../../../src/testing/faults/rule/FaultRule.js';
import { FaultProxy } from '../../../src/testing/proxy/FaultProxy.js';
import { closeAfter } from '../../support/closeAfter.js';
import { httpPool, tool } from '../../support/httpPool.js';
import { outcome } from '../../support/memoryPool.js';
import { RawServer } from '../../support/rawServer.js';
import { RawSocket } from '../../support/tcp.js';

const proxyOf = async (upstream: string, ...rules: FaultRule[]) =>
  closeAfter(await FaultProxy.listen({ upstream, name: 'raw', plan: { rules } }));

interface Reply {
  readonly status: number | undefined;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly text: string;
}

function send(url: string, method: string, body?: string, headers: Record<string, string> = {}): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { method, headers, agent: false }, (res) => {
      const chunks: Buffer[] = [];
      res.on('data', (chunk) => chunks.push(chunk as Buffer));
      res.on('end', () => {
        const { date: _, connection: __, 'keep-alive': ___, ...rest } = res.headers;
        resolve({ status: res.statusCode, headers: rest, text: Buffer.concat(chunks).toString() });
      });
      res.on('error', reject);
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

test('what no rule is about passes byte for byte, both ways, whatever it is', async () => {
  const server = await RawServer.listen({
    before: ({ method, res, message }) => {
      if (message?.method === 'odd') {
        res.writeHead(207, 'Odd', { 'content-type': 'text/odd', 'x-odd': 'ä'.normalize('NFD').length.toString() });
        res.end('{"jsonrpc": "2.0",  "id":1,"result":{"n":12345678901234567890,"f":1.0}}\r\n');
        return true;
      }
      if (method !== 'PUT') return undefined;
      res.writeHead(418, { 'x-teapot': 'yes' }).end('short and stout');
      return true;
    },
  });
  const proxy = await proxyOf(server.url, { tool: 'never', fault: 'crash' });
  const odd = '{ "jsonrpc":"2.0" , "id":1, "method":"odd", "params":{"big":98765432109876543210} }';
  for (const [method, body] of [
    ['POST', odd],
    ['PUT', 'anything'],
    ['GET', undefined],
    ['POST', 'no JSON at all'],
  ] as const) {
    const headers = { 'x-mine': 'kept', 'content-type': 'application/json' };
    const own = await send(server.url, method, body, headers).catch(String);
    expect(await send(proxy.url, method, body, headers).catch(String)).toEqual(own);
  }
  const [direct, proxied] = server.of('odd');
  expect(proxied).toEqual({ ...direct, headers: { ...direct?.headers, connection: 'keep-alive' } });
});

test('it tells what the server was handed and what came of it, by the calls’ stamps', async () => {
  const server = closeAfter(fakeServer({ name: 'raw', serviceMs: 1 }));
  const { url } = await server.listen();
  const proxy = await proxyOf(url, { tool: 'echo', nth: 2, fault: 'drop' });
  const pool = httpPool();
  pool.addServer({ name: 'raw', transport: 'http', url: proxy.url });
  const call = (text: string, ms?: number) => {
    const params = { name: 'echo', arguments: { text }, _meta: { [META_CALL]: text } };
    return outcome(pool.request('raw', 'tools/call', params, ms === undefined ? {} : { timeoutMs: ms }));
  };
  await call('a');
  await call('b', 100);
  const cancel = new AbortController();
  const slow = { name: 'sleep', arguments: { ms: 60_000 }, _meta: { [META_CALL]: 'c' } };
  const cancelled = outcome(pool.request('raw', 'tools/call', slow, { signal: cancel.signal }));
  await expect.poll(() => server.events.at(-1)).toMatchObject({ call: 'c', phase: 'begin' });
  cancel.abort();
  await cancelled;
  const seen = () =>
    proxy.events.map((event) => [
      event.call,
      event.type === 'fault' ? `fault ${event.fault}` : event.type === 'effect' && event.phase,
    ]);
  await expect.poll(() => seen().length).toBe(5);
  expect(seen()).toEqual([
    ['a', 'begin'],
    ['a', 'end'],
    ['b', 'fault drop'],
    ['c', 'begin'],
    ['c', 'cancelled'],
  ]);
});

test('a server that is not there is 502, which says that nothing is known of the call; rules change at run time', async () => {
  const server = closeAfter(fakeServer({ name: 'raw' }));
  const http = await server.listen();
  const proxy = await proxyOf(http.url);
  const pool = httpPool();
  pool.addServer({ name: 'raw', transport: 'http', url: proxy.url, era: 'legacy' });
  expect(await tool(pool, 'echo', { text: 'a' })).toBe('a');
  const rule = proxy.plan.add({ fault: 'error', code: -32050 });
  expect(await outcome(tool(pool, 'echo', { text: 'b' }))).toBe('ERR_RPC');
  rule.disable();
  expect(await tool(pool, 'echo', { text: 'c' })).toBe('c');
  await http.close();
  expect(await outcome(tool(pool, 'echo', { text: 'd' }))).toBe('ERR_OUTCOME_UNKNOWN');
});

test.each(['099 Odd', '000 Odd', '200 O\x01dd'])('a server that answers %j is 502', async (status) => {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', () => void socket.end(`HTTP/1.1 ${status}\r\ncontent-length: 0\r\n\r\n`));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closeAfter({ close: async () => void server.close() });
  const { url } = await proxyOf(`http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`);
  for (const method of ['GET', 'POST', 'DELETE']) {
    const body = method === 'POST' ? '{"jsonrpc":"2.0","id":1,"method":"ping"}' : undefined;
    expect(await send(url, method, body)).toMatchObject({ status: 502, text: expect.stringContaining('no HTTP') });
  }
});

test.each(['', 'tcp://127.0.0.1:1', '/mcp', 7])('no upstream: %s', async (upstream) => {
  await expect(FaultProxy.listen({ upstream: upstream as string })).rejects.toThrow(OptionError);
});

test('a page of another name that leads here reaches neither the server behind it nor a fake one', async () => {
  const server = await RawServer.listen({ before: ({ res }) => res.writeHead(204).end() !== undefined });
  const fake = await fakeServer();
  const urls = [(await proxyOf(server.url)).url, closeAfter(await fake.listen()).url];
  for (const url of urls) {
    const { port } = new URL(url);
    const asked = async (host: string) => (await send(url, 'DELETE', undefined, { host })).status;
    for (const host of ['evil.example', `evil.example:${port}`, '127.1', 'localhost.evil.example', 'a@localhost'])
      expect([host, await asked(host)]).toEqual([host, 403]);
    for (const host of [`localhost:${port}`, 'LOCALHOST', '127.0.0.1', `[::1]:${port}`])
      expect([host, await asked(host)]).not.toEqual([host, 403]);
    const socket = new RawSocket(Number(port));
    socket.send('DELETE http://evil.example/mcp HTTP/1.1\r\nHost: localhost\r\n\r\n');
    expect(await socket.until((text) => text.includes('\r\n'))).toMatch(/^HTTP\/1\.1 403 /);
  }
});
