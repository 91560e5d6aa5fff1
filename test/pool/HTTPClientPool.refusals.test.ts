import { expect, test } from 'vitest';
import { RateLimiter } from '../../src/concurrent/limiter/RateLimiter.js';
import { UnauthorizedError } from '../../src/core/errors.js';
import { closeAfter } from '../support/closeAfter.js';
import { rawPool, tool } from '../support/httpPool.js';
import { freePort } from '../support/httpServers.js';
import { failure, reply } from '../support/rawCalls.js';
import type { Exchange } from '../support/rawServer.js';

test('each status becomes the error that tells the truth about its call', async () => {
  const tools = {
    busy: reply(503, '', { 'retry-after': '7' }),
    locked: reply(401, '', { 'www-authenticate': 'Bearer realm="raw"' }),
    forbidden: reply(403),
    gateway: reply(502, '<h1>Bad Gateway</h1>', { 'content-type': 'text/html' }),
    late: reply(504),
    often: reply(429, '', { 'retry-after': '3' }),
    lost: reply(410),
    wrong: reply(200, 'hello', { 'content-type': 'text/plain' }),
  };
  const { server, pool } = await rawPool({ tools }, { breakerThreshold: Number.POSITIVE_INFINITY });
  const of = (name: string): Promise<unknown> => failure(tool(pool, name));
  expect(await of('busy')).toMatchObject({ code: 'ERR_UPSTREAM_BUSY', status: 503, retryAfterMs: 7_000 });
  expect(await of('locked')).toMatchObject({ code: 'ERR_UNAUTHORIZED', challenge: 'Bearer realm="raw"' });
  expect(await of('forbidden')).toMatchObject({ code: 'ERR_FORBIDDEN' });
  expect(await of('gateway')).toMatchObject({
    code: 'ERR_OUTCOME_UNKNOWN',
    status: 502,
    message: expect.stringContaining('Bad Gateway'),
  });
  expect(await of('late')).toMatchObject({ code: 'ERR_OUTCOME_UNKNOWN', status: 504 });
  expect(await of('often')).toMatchObject({ code: 'ERR_RATE_LIMITED', source: 'upstream', retryAfterMs: 3_000 });
  expect(await of('lost')).toMatchObject({ code: 'ERR_PROTOCOL' });
  expect(await of('wrong')).toMatchObject({ code: 'ERR_PROTOCOL' });
  expect(server.of('tools/call')).toHaveLength(8);
  expect(pool.stats('raw')).toMatchObject({
    state: 'ready',
    connections: 1,
    errors: { ERR_OUTCOME_UNKNOWN: 2, ERR_PROTOCOL: 2, ERR_UNAUTHORIZED: 1, ERR_RATE_LIMITED: 1 },
  });
});

test('a call marked idempotent is sent once more after a 502, any other is not', async () => {
  let answers = 0;
  const tools = {
    flaky: reply(502),
    second: (exchange: Exchange) => {
      if (answers++ === 0) exchange.res.writeHead(502).end();
      else exchange.answer('well');
    },
  };
  const { server, pool } = await rawPool({ tools });
  expect(await tool(pool, 'second', {}, { idempotent: true })).toBe('well');
  expect(await failure(tool(pool, 'flaky'))).toMatchObject({ code: 'ERR_OUTCOME_UNKNOWN' });
  expect(server.of('tools/call')).toHaveLength(3);
});

test('a 429 with Retry-After keeps every caller of the server away for that long', async () => {
  const limiter = closeAfter(new RateLimiter({ maxRequests: 1_000, windowMs: 1_000 }));
  const { server, pool } = await rawPool({ tools: { often: reply(429, '', { 'retry-after': '60' }) } }, { limiter });
  await tool(pool, 'echo');
  expect(await failure(tool(pool, 'often'))).toMatchObject({ code: 'ERR_RATE_LIMITED', retryAfterMs: 60_000 });
  const callers = [undefined, { principal: 'another' }];
  for (const caller of callers) {
    const refused = failure(tool(pool, 'echo', {}, { deadlineMs: 30, ...(caller && { caller }) }));
    expect(await refused).toMatchObject({ code: expect.stringMatching(/ERR_RATE_LIMITED|ERR_ACQUIRE_TIMEOUT/) });
  }
  expect(server.of('tools/call')).toHaveLength(2);
});

test('a server that keeps failing is left alone until one call may try again', async () => {
  let well = false;
  const tools = {
    flaky: (exchange: Exchange) => {
      if (well) exchange.answer('well');
      else exchange.res.writeHead(503).end();
    },
    locked: reply(401),
  };
  const { server, pool } = await rawPool({ tools }, { breakerThreshold: 3, breakerResetMs: 60_000 });
  for (let i = 0; i < 5; i++) expect(await failure(tool(pool, 'locked'))).toBeInstanceOf(UnauthorizedError);
  expect(pool.stats('raw').breaker).toBe('closed');
  for (let i = 0; i < 3; i++) await failure(tool(pool, 'flaky'));
  expect(pool.stats('raw')).toMatchObject({ breaker: 'open', state: 'degraded' });
  const sent = server.of('tools/call').length;
  expect(await failure(tool(pool, 'echo'))).toMatchObject({ code: 'ERR_CIRCUIT_OPEN', cause: { status: 503 } });
  expect(server.of('tools/call')).toHaveLength(sent);
  well = true;
  await pool.restartServer('raw');
  expect(await tool(pool, 'flaky')).toBe('well');
  expect(pool.stats('raw')).toMatchObject({ breaker: 'closed', state: 'ready' });
});

test('a server that is gone trips the breaker: nobody waits for its connect timeout again and again', async () => {
  const { server, pool } = await rawPool({}, { breakerThreshold: 3, breakerResetMs: 60_000 });
  await tool(pool, 'echo');
  await server.close();
  // A call that is sent again is one call.
  for (let call = 0; call < 3; call++)
    expect(await failure(tool(pool, 'echo'))).toMatchObject({ code: 'ERR_NOT_SENT' });
  expect(await failure(tool(pool, 'echo'))).toMatchObject({ code: 'ERR_CIRCUIT_OPEN' });
  expect(pool.state('raw')).toBe('degraded');
});

test('a start that is refused fails with its cause, backs off, and leaves the server failed', async () => {
  const { pool } = await rawPool({}, { backoff: { initialMs: 60_000, maxMs: 60_000 } });
  const url = `http://127.0.0.1:${await freePort()}/mcp`;
  await expect(pool.startServer({ name: 'gone', transport: 'http', url })).rejects.toMatchObject({
    code: 'ERR_START_FAILED',
    cause: { code: 'ERR_NOT_SENT' },
  });
  expect(pool.state('gone')).toBe('failed');
  expect(await failure(pool.request('gone', 'ping'))).toMatchObject({ code: 'ERR_BACKING_OFF' });
});
