import { expect, test } from 'vitest';
import { PoolkitError } from '../../src/core/errors.js';
import type { Caller, McpPool } from '../../src/pool/McpPool.js';
import { SSEPool } from '../../src/pool/SSEPool.js';
import type { CredentialsHook } from '../../src/pool/server/callers/Credentials.js';
import { closeAfter } from '../support/closeAfter.js';
import { rawPool } from '../support/httpPool.js';
import { failure } from '../support/rawCalls.js';
import type { Exchange } from '../support/rawServer.js';
import { RawSse } from '../support/rawSse.js';
import { said } from '../support/stdioPool.js';

/** A user who signs in again and again: what the newest call brings is the only token that the server takes. */
function user() {
  let valid = '';
  const asked: string[] = [];
  const hook: CredentialsHook = async ({ caller, reason }) => {
    const token = caller?.context as string;
    asked.push(`${reason} ${token}`);
    return { headers: { authorization: token } };
  };
  /** Streams of the server's own are let in: they are refused and renewed when they like. */
  const refuses = ({ headers, res, message }: Pick<Exchange, 'headers' | 'res' | 'message'>): boolean =>
    message !== undefined && headers.authorization !== valid && res.writeHead(401).end() !== undefined;
  /** Rotates the token; the caller of the calls that follow has it. */
  const signIn = (token: string): Caller => {
    valid = token;
    return { principal: 'ann', context: token };
  };
  return { asked, hook, refuses, signIn };
}

const echo = (pool: McpPool, caller: Caller, text: string): Promise<string> =>
  said(pool.request('raw', 'tools/call', { name: 'echo', arguments: { text } }, { caller }));

test('after a 401 the hook gets the context of the call that failed, not of the one that opened the connection', async () => {
  const { asked, hook, refuses, signIn } = user();
  const { server, pool } = await rawPool({ before: refuses }, { credentials: hook });
  expect(await echo(pool, signIn('one'), 'first')).toBe('first');
  expect(await echo(pool, signIn('two'), 'second')).toBe('second');
  expect(await echo(pool, signIn('three'), 'third')).toBe('third');
  expect(asked).toEqual(['start one', '401 two', '401 three']);
  expect(server.initialises).toBe(1);
});

test('a notification, and a call on a lease, are renewed with their own caller too', async () => {
  const { asked, hook, refuses, signIn } = user();
  const { pool } = await rawPool({ before: refuses }, { credentials: hook }, { sharing: 'leased' });
  await echo(pool, signIn('one'), 'first');
  await pool.notify('raw', 'notifications/roots/list_changed', undefined, { caller: signIn('two') });
  const lease = await pool.lease('raw', { caller: signIn('three') });
  await lease.request('tools/call', { name: 'echo', arguments: { text: 'leased' } });
  signIn('four');
  expect(await failure(lease.notify('notifications/roots/list_changed'))).toMatchObject({ code: 'ERR_UNAUTHORIZED' });
  lease.release();
  expect(asked).toEqual(['start one', '401 two', '401 three', '401 three']);
});

test('over SSE the call that failed says who asks, too', async () => {
  const { asked, hook, refuses, signIn } = user();
  const server = await RawSse.listen({ before: refuses });
  const pool = closeAfter(new SSEPool({ credentials: hook }));
  pool.addServer({ name: 'raw', transport: 'sse', url: server.url });
  expect(await echo(pool, signIn('one'), 'first')).toBe('first');
  expect(await echo(pool, signIn('two'), 'second')).toBe('second');
  expect(asked).toEqual(['start one', '401 two']);
});

test('a connection that is started again is started for the caller who waits for it', async () => {
  const { asked, hook, refuses, signIn } = user();
  const credentials: CredentialsHook = async (request) => ({ ...(await hook(request)), expiresAt: 1 });
  const { server, pool } = await rawPool({ before: refuses, lost: 404 }, { credentials }, { sharing: 'leased' });
  const old = signIn('one');
  await echo(pool, old, 'first');
  server.forget();
  expect(await failure(echo(pool, old, 'lost'))).toBeInstanceOf(PoolkitError);
  expect(await echo(pool, signIn('two'), 'second')).toBe('second');
  expect(asked).toEqual(['start one', 'start two']);
});

test('an old call that fails at the same time takes no renewal away from a new one', async () => {
  const { asked, hook, refuses, signIn } = user();
  const { pool } = await rawPool({ before: refuses }, { credentials: hook });
  const old = signIn('one');
  await echo(pool, old, 'first');
  const fresh = signIn('two');
  const [stale, served] = await Promise.all([
    echo(pool, old, 'stale').catch((error: { code: string }) => error.code),
    echo(pool, fresh, 'fresh'),
  ]);
  expect(served).toBe('fresh');
  // Of the same principal: what the new call brought serves the old one, if it came in time.
  expect(['stale', 'ERR_UNAUTHORIZED']).toContain(stale);
  expect(asked.filter((each) => each === '401 two')).toHaveLength(1);
});
