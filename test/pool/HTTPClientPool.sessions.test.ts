import { expect, test } from 'vitest';
import { MemoryEraStore } from '../../src/core/era/EraStore.js';
import { NotSentError, OptionError } from '../../src/core/errors.js';
import { echoFor, httpPool, rawPool, sessionsOf, tool } from '../support/httpPool.js';
import { failure } from '../support/rawCalls.js';
import { RawServer } from '../support/rawServer.js';

test('callers of one principal share a session, and of two never one', async () => {
  const { server, pool } = await rawPool({ lost: 404 });
  const callers = ['ann', 'bob'].flatMap((principal) => Array.from({ length: 20 }, (_, i) => ({ principal, i })));
  await Promise.all(callers.map(({ principal, i }) => echoFor(pool, { principal }, `${principal} ${i}`)));
  const sessions = sessionsOf(server);
  const of = (principal: string): Set<unknown> =>
    new Set([...sessions].filter(([text]) => text.startsWith(principal)).map(([, session]) => session));
  expect([of('ann').size, of('bob').size, server.initialises]).toEqual([1, 1, 2]);
  expect(of('ann')).not.toEqual(of('bob'));
  expect(pool.stats('raw')).toMatchObject({ calls: expect.any(Number), connections: 2, inFlight: 0, pids: [] });
});

test('callers with other capabilities have a session of their own, and the server is told of them', async () => {
  const { server, pool } = await rawPool({ lost: 404 });
  await echoFor(pool, {}, 'plain');
  await echoFor(pool, { capabilities: { sampling: {} } }, 'samples');
  await echoFor(pool, { capabilities: { sampling: {} } }, 'samples too');
  const sessions = sessionsOf(server);
  expect(sessions.get('samples')).toBe(sessions.get('samples too'));
  expect(sessions.get('samples')).not.toBe(sessions.get('plain'));
  expect(server.of('initialize').map(({ message }) => message.params.capabilities)).toEqual([{}, { sampling: {} }]);
});

test('a bound session is its key’s alone, and ends when the key is released', async () => {
  const { server, pool } = await rawPool({ lost: 404 }, {}, { sharing: 'bound' });
  expect(await failure(echoFor(pool, {}))).toBeInstanceOf(OptionError);
  for (const key of ['a', 'b', 'a']) await echoFor(pool, { key }, `${key} ${server.seen.length}`);
  const sessions = [...sessionsOf(server)];
  const [a] = sessions.filter(([text]) => text.startsWith('a')).map(([, session]) => session);
  expect(new Set(sessions.map(([, session]) => session)).size).toBe(2);
  await pool.releaseKey('raw', 'a');
  expect(server.of('DELETE').map(({ headers }) => headers['mcp-session-id'])).toEqual([a]);
});

test('a leased connection is one borrower’s; two borrowers have two sessions', async () => {
  const { server, pool } = await rawPool({ lost: 404 }, {}, { sharing: 'leased', maxConnections: 2 });
  const [one, two] = await Promise.all([pool.lease('raw'), pool.lease('raw')]);
  await one.request('tools/call', { name: 'echo', arguments: { text: 'one' } });
  await two.request('tools/call', { name: 'echo', arguments: { text: 'two' } });
  const sessions = sessionsOf(server);
  expect(sessions.get('one')).not.toBe(sessions.get('two'));
  await expect(pool.lease('raw', { acquireTimeoutMs: 20 })).rejects.toMatchObject({ code: 'ERR_ACQUIRE_TIMEOUT' });
  one.release();
  two.release();
  expect(pool.stats('raw').connections).toBe(2);
});

test.each([404, 400] as const)('a session lost by %s is replaced once for all callers of a principal', async (lost) => {
  const { server, pool } = await rawPool({ lost });
  await tool(pool, 'echo', { text: 'first' });
  const before = pool.info('raw');
  server.forget();
  const texts = Array.from({ length: 30 }, (_, i) => `t${i}`);
  expect(await Promise.all(texts.map((text) => tool(pool, 'echo', { text })))).toEqual(texts);
  expect(server.initialises).toBe(2);
  expect(pool.stats('raw')).toMatchObject({ errors: {}, connections: 1, state: 'ready' });
  // By what a handshake told it is known what the session was told since, as a log level.
  expect(pool.info('raw')).toEqual(before);
  expect(pool.info('raw')).not.toBe(before);
});

test.each(['leased', 'bound'] as const)('in %s mode a lost session sends nothing again', async (sharing) => {
  const { server, pool } = await rawPool({ lost: 404 }, {}, { sharing });
  const caller = { key: 'k' };
  await echoFor(pool, caller);
  // The session's own stream is refused (405): after that nothing but a call can find out.
  await expect.poll(() => server.of('GET').length).toBe(1);
  server.forget();
  expect(await failure(echoFor(pool, caller, 'lost'))).toBeInstanceOf(NotSentError);
  expect(server.of('tools/call')).toHaveLength(2);
  expect(server.initialises).toBe(1);
  expect(await echoFor(pool, caller, 'new')).toBe('new');
  expect(server.initialises).toBe(2);
});

test('an idle session is ended at the server, and the next call makes another', async () => {
  const { server, pool } = await rawPool({ lost: 404 }, { idleTimeoutMs: 40 });
  await tool(pool, 'echo', { text: 'one' });
  await expect.poll(() => server.of('DELETE').length).toBe(1);
  await expect.poll(() => pool.state('raw')).toBe('idle');
  expect(await tool(pool, 'echo', { text: 'two' })).toBe('two');
  expect(server.initialises).toBe(2);
  expect(pool.stats('raw')).toMatchObject({ errors: {}, lastError: undefined });
});

test('which era a server speaks is found out once and remembered', async () => {
  const eraStore = new MemoryEraStore();
  const { server, pool } = await rawPool({}, { eraStore }, { era: 'auto' });
  await tool(pool, 'echo');
  await tool(pool, 'echo', {}, { caller: { principal: 'another' } });
  expect(server.of('server/discover')).toHaveLength(1);
  const again = httpPool({ eraStore });
  again.addServer({ name: 'raw', transport: 'http', url: server.url, era: 'auto' });
  await tool(again, 'echo');
  expect(server.of('server/discover')).toHaveLength(1);
  expect(again.info('raw')).toMatchObject({ era: 'legacy' });
});

test('a server that restarts with calls in flight: those have no known outcome, the next ones are answered', async () => {
  const { server, pool } = await rawPool({ lost: 404, tools: { hang: () => undefined } });
  await tool(pool, 'echo', { text: 'before' });
  const hung = [1, 2, 3].map(() => failure(tool(pool, 'hang')));
  await expect.poll(() => server.of('tools/call').length).toBe(4);
  const { port } = server;
  await server.close();
  for (const error of await Promise.all(hung)) expect(error).toMatchObject({ code: 'ERR_OUTCOME_UNKNOWN' });
  expect(await failure(tool(pool, 'echo'))).toMatchObject({ code: 'ERR_NOT_SENT' });
  const back = await RawServer.listen({ lost: 404 }, port);
  const texts = Array.from({ length: 10 }, (_, i) => `t${i}`);
  expect(await Promise.all(texts.map((text) => tool(pool, 'echo', { text })))).toEqual(texts);
  expect(back.initialises).toBe(1);
});
