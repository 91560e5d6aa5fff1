import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { NotSentError } from '../../src/core/errors.js';
import { HTTPClientPool } from '../../src/pool/HTTPClientPool.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { fakeServer } from '../../src/testing/fake/FakeServer.js';
import { closeAfter } from '../support/closeAfter.js';
import { outcome } from '../support/memoryPool.js';

test('a call that is answered with 404 in every session, as a ping is, reaches its server twice', async () => {
  let calls = 0;
  let sessions = 0;
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8');
    request.on('data', (piece: string) => {
      body += piece;
    });
    request.on('end', () => {
      const { id, method } = (body === '' ? {} : JSON.parse(body)) as { id?: number; method?: string };
      if (method === 'tools/call') {
        calls++;
        response.writeHead(404).end();
      } else if (method === 'ping') response.writeHead(404).end();
      else if (method === 'initialize') {
        const result = { protocolVersion: '2025-11-25', capabilities: {}, serverInfo: { name: 's', version: '1' } };
        response.writeHead(200, { 'content-type': 'application/json', 'mcp-session-id': `s${sessions++}` });
        response.end(JSON.stringify({ jsonrpc: '2.0', id, result }));
      } else response.writeHead(request.method === 'POST' ? 202 : 405).end();
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closeAfter({
    close: async () => {
      server.closeAllConnections();
      server.close();
    },
  });
  const { port } = server.address() as AddressInfo;
  const pool = closeAfter(new HTTPClientPool({ clock: new FakeClock() }));
  await pool.apply([{ name: 'gone', transport: 'http', url: `http://127.0.0.1:${port}/mcp`, era: 'legacy' }]);
  const call = pool.request('gone', 'tools/call', { name: 'x', arguments: {} });
  await expect(call).rejects.toBeInstanceOf(NotSentError);
  expect(calls).toBe(2);
  // The session that followed is new: what it refuses is not sent again.
  await expect(pool.request('gone', 'tools/call', { name: 'x' })).rejects.toBeInstanceOf(NotSentError);
  expect(calls).toBe(3);
});

test('a tool list is asked for once by all calls whose headers a server refuses meanwhile', async () => {
  const fake = closeAfter(fakeServer({ era: 'modern', capabilities: { tools: {} } }));
  let lists = 0;
  let refused = 0;
  const listed: (() => void)[] = [];
  const { url } = await fake.listen({
    intercept: ({ message, res }) => {
      const { id, method } = message ?? {};
      const json = (status: number, told: object): unknown =>
        res
          .writeHead(status, { 'content-type': 'application/json' })
          .end(JSON.stringify({ jsonrpc: '2.0', id, ...told }));
      if (method === 'tools/call') {
        refused++;
        json(400, { error: { code: -32020, message: 'other headers' } });
      } else if (method === 'tools/list') {
        lists++;
        listed.push(() =>
          json(200, { result: { tools: [], ttlMs: 0, cacheScope: 'private', resultType: 'complete' } }),
        );
      } else return false;
      return true;
    },
  });
  const pool = closeAfter(new HTTPClientPool());
  pool.addServer({ name: 's', transport: 'http', url, era: 'modern' });
  const calls = Array.from({ length: 20 }, () =>
    outcome(pool.request('s', 'tools/call', { name: 'x', arguments: {} })),
  );
  await expect.poll(() => refused).toBe(20);
  await expect.poll(() => lists).toBeGreaterThan(0);
  // Whoever else asks has done so by the time that another request is answered.
  await pool.request('s', 'server/discover');
  expect(lists).toBe(1);
  listed[0]?.();
  await Promise.all(calls);
});
