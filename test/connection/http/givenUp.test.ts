import { expect, test } from 'vitest';
import type { Connection } from '../../../src/connection/Connection.js';
import type { HttpConnection } from '../../../src/connection/http/HttpConnection.js';
import { HttpDispatchers } from '../../../src/connection/net/sockets/HttpDispatchers.js';
import { fakeServer } from '../../../src/testing/fake/FakeServer.js';
import { closeAfter } from '../../support/closeAfter.js';
import { collectGarbage } from '../../support/collectGarbage.js';
import { openHttp, openSse } from '../../support/httpServers.js';
import { call, LEGACY, serve } from '../../support/rawCalls.js';
import { RawServer } from '../../support/rawServer.js';

const CALLS = 80;
const silent = (): void => undefined;

/** So many calls, which are given up once `begun` says so: their params are not kept after that, but for what a socket had last. */
async function expectNoneKept(connection: Connection, begun: () => boolean): Promise<void> {
  const abort = new AbortController();
  const kept: WeakRef<object>[] = [];
  const calls = Array.from({ length: CALLS }, () => {
    const args = { text: 'a call' };
    kept.push(new WeakRef(args));
    return connection.request('tools/call', { name: 'hang', arguments: args }, { signal: abort.signal }).catch(silent);
  });
  await expect.poll(begun).toBe(true);
  abort.abort();
  await Promise.all(calls);
  const left = (): number => {
    collectGarbage();
    return kept.filter((each) => each.deref() !== undefined).length;
  };
  await expect.poll(left).toBeLessThan(CALLS / 4);
}

test.each(['http', 'sse'] as const)('calls whose cancellations wait are not kept (%s)', async (kind) => {
  let cancelled = 0;
  let calls = 0;
  const fake = closeAfter(fakeServer({ era: 'legacy' }));
  const { url, sseUrl } = await fake.listen({
    intercept: ({ message, res }) => {
      const isCall = message?.method === 'tools/call';
      if (message?.method === 'notifications/cancelled') cancelled++;
      else if (!isCall) return false;
      if (isCall) calls++;
      if (isCall && kind === 'sse') res.writeHead(202).end();
      return true;
    },
  });
  const connection: Connection = kind === 'http' ? await openHttp(url, LEGACY) : await openSse(sseUrl);
  await expectNoneKept(connection, () => calls === CALLS);
  // Others wait behind these.
  await expect.poll(() => cancelled).toBe(32);
});

test('calls that wait for a session are not kept when they are given up', async () => {
  let lost = false;
  const { server, connection } = await serve(
    {},
    { lost: 404, before: ({ message }) => lost && message?.method === 'initialize' },
  );
  server.forget();
  lost = true;
  await expectNoneKept(connection, () => server.of('initialize').length === 2);
});

test('nor those that wait for other credentials', async () => {
  let asked = 0;
  const credentials = (reason: string): Promise<object> => {
    if (reason === 'start') return Promise.resolve({ headers: { Authorization: 'Bearer old' } });
    asked++;
    return new Promise(() => undefined);
  };
  const { connection } = await serve({ hang: ({ res }) => void res.writeHead(401).end() }, {}, { credentials });
  await expectNoneKept(connection, () => asked > 0);
});

test('nor those whose refusal may speak of the session, which is being looked at', async () => {
  let pings = 0;
  const { connection }: { connection: HttpConnection } = await serve(
    { hang: ({ res }) => void res.writeHead(400).end() },
    { lost: 404, before: ({ message }) => message?.method === 'ping' && ++pings > 0 },
  );
  await expectNoneKept(connection, () => pings > 0);
  await expect(call(connection, 'echo', { text: 'on' })).resolves.toMatchObject({ content: [{ text: 'on' }] });
});

test('nor those that wait for a connection, which is not made then', async () => {
  let hangs = false;
  const waiting: (() => void)[] = [];
  const lookup = (_name: string, _options: object, callback: (error: null, found: object[]) => void): void => {
    const answer = (): void => callback(null, [{ address: '127.0.0.1', family: 4 }]);
    if (hangs) waiting.push(answer);
    else answer();
  };
  const dispatchers = closeAfter(new HttpDispatchers({ connectTimeoutMs: 60_000, tls: { lookup } as object }));
  const server = await RawServer.listen({ tools: { hang: () => undefined } });
  const connection = await openHttp(server.url.replace('127.0.0.1', 'localhost'), { ...LEGACY, dispatchers });
  hangs = true;
  // One may have the connection that was there.
  await expectNoneKept(connection, () => waiting.length >= CALLS - 1);
  hangs = false;
  await expect(call(connection, 'echo', { text: 'on' })).resolves.toMatchObject({ content: [{ text: 'on' }] });
  for (const answer of waiting) answer();
});
