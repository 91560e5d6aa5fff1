import type { ServerResponse } from 'node:http';
import { expect, test, vi } from 'vitest';
import type { Connection } from '../../src/connection/Connection.js';
import type { Connector, ConnectRequest } from '../../src/pool/connectors/Connector.js';
import { UnifiedPool } from '../../src/pool/UnifiedPool.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { closeAfter } from '../support/closeAfter.js';
import { tool } from '../support/httpPool.js';
import { MemoryConnector } from '../support/memoryPool.js';
import { failure } from '../support/rawCalls.js';
import { RawServer } from '../support/rawServer.js';
import { RawSse } from '../support/rawSse.js';

const refused =
  (status: number, headers = {}) =>
  (res: ServerResponse): void =>
    void res.writeHead(status, headers).end();

/** A server of HTTP+SSE whose URL answers a POST so. */
function sseServer(answer: (res: ServerResponse) => void, onGet?: (res: ServerResponse) => void): Promise<RawSse> {
  return RawSse.listen({
    before: ({ res }) => {
      if (res.req.url !== '/sse') return false;
      answer(res);
      return true;
    },
    onGet: (_req, res) => {
      onGet?.(res);
      return onGet !== undefined;
    },
  });
}

function poolOf(url: string, startTimeoutMs = 8_000): UnifiedPool {
  const pool = closeAfter(new UnifiedPool({ startTimeoutMs, ledger: false }));
  pool.addServer({ name: 'raw', url });
  return pool;
}

test.each<[string, (res: ServerResponse) => void]>([
  ['400', refused(400)],
  ['403', refused(403)],
  ['405', refused(405)],
  ['501', refused(501)],
  ['no response', () => undefined],
  [
    'an endless stream that says nothing',
    (res) => res.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders(),
  ],
])('a URL without a transport whose POST gets %s is reached over SSE', async (_, answer) => {
  const server = await sseServer(answer);
  expect(await tool(poolOf(server.url), 'echo', { text: 'x' })).toBe('x');
});

test('a server that takes the POST for its GET is known for one of SSE at once, however long its start may take', async () => {
  const server = await sseServer((res) => {
    res.writeHead(200, { 'content-type': 'text/event-stream' }).write('event: endpoint\ndata: /other?s=1\n\n');
  });
  const pool = poolOf(server.url, Number.POSITIVE_INFINITY);
  expect(await tool(pool, 'echo', { text: 'x' })).toBe('x');
});

test('a slow server of Streamable HTTP is tried on beside SSE', async () => {
  let answer: (() => void) | undefined;
  const server = await RawServer.listen({
    before: ({ req, res, message, json }) => {
      if (message?.method === 'server/discover') res.writeHead(404).end();
      else if (message?.method === 'initialize') {
        const serverInfo = { name: 'slow', version: '1' };
        const result = { protocolVersion: '2025-11-25', capabilities: {}, serverInfo };
        answer = () => json({ jsonrpc: '2.0', id: message.id, result });
      } else if (req.method === 'GET') {
        res.writeHead(405).end();
        const due = answer;
        answer = undefined;
        setImmediate(() => due?.());
      } else return false;
      return true;
    },
  });
  expect(await tool(poolOf(server.url), 'echo', { text: 'x' })).toBe('x');
  expect(server.of('GET').length).toBeGreaterThan(0);
});

test.each([
  [403, {}, 'ERR_FORBIDDEN'],
  [403, { 'www-authenticate': 'Bearer error="insufficient_scope"' }, 'ERR_FORBIDDEN'],
  [401, {}, 'ERR_UNAUTHORIZED'],
  [404, {}, 'ERR_START_FAILED'],
])('where both transports are refused with %i %o, that is told', async (status, headers, code) => {
  const answer = refused(status, headers);
  const server = await sseServer(answer, answer);
  expect(await failure(tool(poolOf(server.url), 'echo'))).toMatchObject({ code });
});

test('a connector of a user’s own that throws at once is one that failed, and what comes too late and cannot be closed harms nothing', async () => {
  const memory = new MemoryConnector();
  const clock = new FakeClock();
  let http: ConnectRequest | undefined;
  let late!: (made: Connection | Promise<Connection>) => void;
  const silent = (request: ConnectRequest): Promise<Connection> => {
    http = request;
    return new Promise((resolve) => {
      late = resolve;
    });
  };
  const start = (sse: Connector['connect']): Promise<unknown> => {
    const own = (transport: 'http' | 'sse', connect: Connector['connect']): Connector => {
      return { transports: [transport], attributes: () => true, connect, close: async () => undefined };
    };
    const pool = closeAfter(new UnifiedPool({ connectors: [own('http', silent), own('sse', sse)], clock }));
    pool.addServer({ name: 's', url: 'http://127.0.0.1:1/mcp' });
    return pool.callTool('s', 'echo');
  };
  const slow = start(() => {
    throw new Error('at once');
  });
  await clock.advance(5_000);
  late(memory.connect(http as ConnectRequest));
  expect(await slow).toEqual({ name: 'echo' });

  const beside = start((request) => memory.connect(request));
  await clock.advance(5_000);
  expect(await beside).toEqual({ name: 'echo' });
  const close = vi.fn(() => {
    throw new Error('it cannot be closed');
  });
  late({ close } as unknown as Connection);
  await vi.waitFor(() => expect(close).toHaveBeenCalled());
});
