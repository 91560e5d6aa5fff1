import { expect, test } from 'vitest';
import type { Caller } from '../../../src/pool/McpPool.js';
import { MEMORY, memoryPool, outcome } from '../../support/memoryPool.js';

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const as = (principal: string, key?: string): { caller: Caller } => ({ caller: { principal, ...(key && { key }) } });

test('shared: one connection a principal, all its calls on it, and never two principals on one', async () => {
  const { pool, connector, call } = memoryPool();
  pool.addServer(MEMORY);
  await Promise.all(['a', 'b', 'a', 'b', 'a'].map((principal, i) => call(`${principal}${i}`, as(principal))));
  await call('nobody');
  expect(connector.made.map(({ calls }) => calls)).toEqual([['a0', 'a2', 'a4'], ['b1', 'b3'], ['nobody']]);
  expect(connector.made.map((each) => each.request_.caller?.principal)).toEqual(['a', 'b', undefined]);
});

test('shared: at maxConcurrent the others queue, first come first served, up to maxQueue', async () => {
  const { pool, connector, call, clock } = memoryPool({ acquireTimeoutMs: 500 });
  pool.addServer({ ...MEMORY, maxConcurrent: 2, maxQueue: 2 });
  await call('warm');
  const hanging = [outcome(call('hang')), outcome(call('hang'))];
  const queued = [outcome(call('first')), outcome(call('second'))];
  await settled();
  expect(pool.stats('s')).toMatchObject({ inFlight: 2, queued: 2 });
  expect(await outcome(call('third'))).toBe('ERR_QUEUE_FULL');
  connector.last.answer(connector.last.seen.find(({ params }) => params?.['name'] === 'hang')?.id as number, 'done');
  expect(await Promise.all(queued)).toEqual([{ name: 'first' }, { name: 'second' }]);
  const late = [outcome(call('hang')), outcome(call('late'))];
  await clock.advance(530);
  expect(await late[1]).toBe('ERR_ACQUIRE_TIMEOUT');
  await pool.close({ graceMs: 0 });
  expect(await Promise.all([hanging[1], late[0]])).toEqual(['ERR_OUTCOME_UNKNOWN', 'ERR_OUTCOME_UNKNOWN']);
});

test('shared: callers of several addresses take turns, and one has three quarters of the places', async () => {
  const { pool, connector, call } = memoryPool();
  pool.addServer({ ...MEMORY, maxConcurrent: 1, maxQueue: 8 });
  const from = (origin: string, name: string) => outcome(call(name, { caller: { origin } }));
  await call('warm');
  const all = [from('a', 'hang')];
  await settled();
  all.push(...[1, 2, 3, 4, 5, 6, 7].map((at) => from('a', `a${at}`)), from('b', 'b1'), from('b', 'b2'));
  await settled();
  expect(await all[7]).toBe('ERR_QUEUE_FULL');
  connector.last.answer(connector.last.seen.at(-1)?.id as number, 'done');
  await Promise.all(all);
  expect(connector.last.calls).toEqual(['warm', 'hang', 'a1', 'b1', 'a2', 'b2', 'a3', 'a4', 'a5', 'a6']);
});

test.each([
  ['of one principal', 'shared', { principal: 'ann', origin: 'a' }],
  ['of a session that has its own connection', 'bound', { key: 's', origin: 'a' }],
] as const)('callers %s may take all places', async (_, sharing, caller) => {
  const { pool, call } = memoryPool();
  pool.addServer({ ...MEMORY, sharing, maxConcurrent: 1, maxQueue: 8 });
  await call('warm', { caller });
  const all = Array.from({ length: 9 }, () => outcome(call('hang', { caller })));
  await settled();
  expect(pool.stats('s')).toMatchObject({ inFlight: 1, queued: 8 });
  await pool.close({ graceMs: 0 });
  await Promise.all(all);
});

test('leased: each call has a connection to itself, up to maxConnections', async () => {
  const { pool, connector, call } = memoryPool();
  pool.addServer({ ...MEMORY, sharing: 'leased', maxConnections: 2 });
  const hanging = [outcome(call('hang')), outcome(call('hang'))];
  await settled();
  const third = outcome(call('third'));
  await settled();
  expect(connector.made.map(({ calls }) => calls)).toEqual([['hang'], ['hang']]);
  expect(pool.stats('s')).toMatchObject({ connections: 2, restarts: 0, queued: 1 });
  connector.made[0]?.answer(connector.made[0]?.seen[0]?.id as number, 'done');
  expect(await third).toEqual({ name: 'third' });
  await pool.close({ graceMs: 0 });
  expect(await Promise.all(hanging)).toContain('ERR_OUTCOME_UNKNOWN');
});

test('leased: one connection that dies as another comes up leaves the server ready', async () => {
  const { pool, connector, call, clock } = memoryPool();
  pool.addServer({ ...MEMORY, sharing: 'leased', maxConnections: 2 });
  const first = outcome(call('hang'));
  await settled();
  let go: (() => void) | undefined;
  connector.onStart = () =>
    new Promise((resolve) => {
      go = resolve;
    });
  const second = outcome(call('b'));
  await settled();
  connector.made[0]?.die('it crashed');
  expect(await first).toBe('ERR_OUTCOME_UNKNOWN');
  go?.();
  expect(await second).toEqual({ name: 'b' });
  expect(pool.state('s')).toBe('ready');
  await clock.advance(10);
  expect(pool.stats('s').connections).toBe(1);
});

test('bound: one connection a key, its own again and again; without a key an option error', async () => {
  const { pool, connector, call } = memoryPool();
  pool.addServer({ ...MEMORY, sharing: 'bound' });
  await Promise.all([call('a1', as('p', 'a')), call('b1', as('p', 'b')), call('a2', as('p', 'a'))]);
  await call('q', as('q', 'a'));
  expect(connector.made.map(({ calls }) => calls)).toEqual([['a1', 'a2'], ['b1'], ['q']]);
  expect(await outcome(call('none'))).toBe('ERR_OPTION');
  expect(await outcome(call('none', as('p')))).toBe('ERR_OPTION');
  await pool.releaseKey('s', 'a', { principal: 'p' });
  expect(connector.made.map(({ alive }) => alive)).toEqual([false, true, true]);
  await pool.releaseKey('s', 'a');
  expect(connector.made.map(({ alive }) => alive)).toEqual([false, true, false]);
  await call('a3', as('p', 'a'));
  expect(connector.made).toHaveLength(4);
});

test('releaseKey ends nothing of a server that binds no keys', async () => {
  const { pool, connector, call } = memoryPool();
  pool.addServer(MEMORY);
  await call('a', as('p', 'k'));
  await pool.releaseKey('s', 'k');
  expect(connector.last.alive).toBe(true);
});

test('bound: spares are kept ready, taken by the next key, replaced, and counted as seats', async () => {
  const { pool, connector, call } = memoryPool();
  pool.addServer({ ...MEMORY, sharing: 'bound', warmSpares: 2, maxConnections: 3 });
  await pool.startServer('s');
  await settled();
  expect(connector.made).toHaveLength(2);
  expect(pool.stats('s')).toMatchObject({ connections: 2, state: 'ready' });
  await call('a', as('p', 'a'));
  await settled();
  expect(connector.made.map(({ calls }) => calls)).toEqual([['a'], [], []]);
  // The third seat is taken: the next key gets the second spare, and no other is started.
  await call('b', as('p', 'b'));
  await settled();
  expect(connector.made.map(({ calls }) => calls)).toEqual([['a'], ['b'], []]);
  // Other capabilities than the server's own are not what a spare has: it gives way to a connection that has them.
  await call('c', { caller: { key: 'c', capabilities: { roots: {} } } });
  expect(connector.made.map(({ calls, alive }) => [calls[0], alive])).toEqual([
    ['a', true],
    ['b', true],
    [undefined, false],
    ['c', true],
  ]);
  expect(connector.last.request_.capabilities).toEqual({ roots: {} });
  await pool.stopServer('s');
  expect(connector.live).toHaveLength(0);
});

test('bound: with credentials a principal never gets a spare, which has none', async () => {
  const { pool, connector, call } = memoryPool({
    credentials: async ({ caller }) => ({ env: { P: `${caller?.principal}` } }),
  });
  pool.addServer({ ...MEMORY, sharing: 'bound', warmSpares: 1 });
  await pool.startServer('s');
  await call('a', as('p', 'a'));
  await call('b', { caller: { key: 'b' } });
  expect(connector.made.map(({ calls }) => calls[0])).toEqual(['b', 'a', undefined].slice(0, connector.made.length));
});

test('bound: what startServer made beyond the spares ends when nobody takes it', async () => {
  const { pool, connector, clock } = memoryPool({ idleTimeoutMs: 10_000 });
  await pool.startServer({ ...MEMORY, sharing: 'bound' });
  expect(pool.state('s')).toBe('ready');
  await clock.advance(9_000);
  expect(connector.live).toHaveLength(1);
  await clock.advance(2_000);
  expect(connector.live).toHaveLength(0);
  expect(pool.state('s')).toBe('idle');
});

test('leased: spares are kept ready, and take no seat that somebody waits for', async () => {
  const { pool, connector, call } = memoryPool();
  pool.addServer({ ...MEMORY, sharing: 'leased', warmSpares: 2, maxConnections: 2 });
  await call('a');
  await settled();
  expect(connector.live).toHaveLength(2);
  expect(await call('b', as('p'))).toEqual({ name: 'b' });
});

test('capabilities on a shared server are an option error; what the server says anyway is no difference', async () => {
  const { pool, connector, call } = memoryPool();
  pool.addServer(MEMORY);
  expect(await outcome(call('a', { caller: { capabilities: { roots: {} } } }))).toBe('ERR_OPTION');
  await call('a', { caller: { capabilities: {} } });
  await call('b');
  expect(connector.made).toHaveLength(1);
  expect(() => pool.addServer({ ...MEMORY, name: 't', clientCapabilities: { roots: {} } })).toThrow(
    'clientCapabilities',
  );
});

test('leased: profiles of capabilities have connections of their own, whatever the order of keys', async () => {
  const { pool, connector, call } = memoryPool();
  pool.addServer({ ...MEMORY, sharing: 'leased', clientCapabilities: { roots: {} } });
  const profiles = [{ sampling: {}, roots: {} }, { roots: {}, sampling: {} }, { roots: {} }, undefined, {}];
  for (const capabilities of profiles) await call('a', { caller: capabilities === undefined ? {} : { capabilities } });
  expect(connector.made.map((each) => each.request_.capabilities)).toEqual([
    { sampling: {}, roots: {} },
    { roots: {} },
    {},
  ]);
});

test('at maxConnections the one unused longest gives way, and is back on its next call', async () => {
  const { pool, connector, call, clock } = memoryPool();
  pool.addServer({ ...MEMORY, maxConnections: 2 });
  for (const principal of ['a', 'b', 'a', 'c', 'a', 'b']) {
    await call(principal, as(principal));
    await clock.advance(10);
  }
  expect(connector.made.map((each) => each.request_.caller?.principal)).toEqual(['a', 'b', 'c', 'b']);
  expect(connector.made.map(({ alive }) => alive)).toEqual([true, false, false, true]);
  expect(pool.stats('s')).toMatchObject({ restarts: 0, errors: {} });
});

test('more principals than seats, all busy: everybody is served, in turn, without an error', async () => {
  const { pool, connector, clock } = memoryPool({ maxHoldMs: 100, acquireTimeoutMs: 60_000 });
  pool.addServer({ ...MEMORY, maxConnections: 2, maxConcurrent: 1, maxQueue: 100 });
  const busy = new Map<string, number>();
  connector.onMessage = ({ id, method }, connection) => {
    if (id === undefined || method !== 'tools/call') return;
    clock.setTimer(() => connection.answer(id, 'ok'), 10);
  };
  let over = false;
  const worker = async (principal: string): Promise<void> => {
    while (!over) {
      await pool.request('s', 'tools/call', { name: principal }, as(principal));
      busy.set(principal, (busy.get(principal) ?? 0) + 1);
    }
  };
  // One principal asks with twenty callers, four with one each.
  const all = [...Array.from({ length: 20 }, () => 'a'), 'b', 'c', 'd', 'e'].map(worker);
  for (let i = 0; i < 100; i++) await clock.advance(100);
  over = true;
  for (let i = 0; i < 40; i++) await clock.advance(100);
  await Promise.all(all);
  expect([...busy.keys()].sort()).toEqual(['a', 'b', 'c', 'd', 'e']);
  const counts = ['a', 'b', 'c', 'd', 'e'].map((principal) => busy.get(principal) ?? 0);
  expect(Math.min(...counts)).toBeGreaterThan(Math.max(...counts) / 4);
  expect(Math.max(...connector.made.map(({ channel }) => channel.inFlight))).toBe(0);
});

test('a principal whose calls hang does not keep out others: a fourth of the connections is kept for them', async () => {
  const { pool, call, clock } = memoryPool({ acquireTimeoutMs: 500 });
  pool.addServer({ ...MEMORY, sharing: 'leased', maxConnections: 8 });
  const hanging = Array.from({ length: 7 }, () => outcome(call('hang', as('a'))));
  await settled();
  expect(pool.stats('s')).toMatchObject({ connections: 6, inFlight: 6, queued: 1 });
  expect(await call('b1', as('b'))).toEqual({ name: 'b1' });
  await clock.advance(530);
  expect(await hanging[6]).toBe('ERR_ACQUIRE_TIMEOUT');
  expect(pool.stats('s').lastError).toContain('(kept free for other principals: 1)');
  await pool.close({ graceMs: 0 });
});

test('a caller that has left has no connection started for it when its turn comes', async () => {
  const { pool, connector, call } = memoryPool();
  pool.addServer({ ...MEMORY, maxConnections: 1 });
  const first = outcome(call('hang', as('a')));
  await settled();
  const leaving = new AbortController();
  const gone = outcome(call('gone', { ...as('b'), signal: leaving.signal }));
  const waiting = outcome(call('waits', as('c')));
  await settled();
  leaving.abort(new Error('left'));
  connector.made[0]?.answer(connector.made[0]?.seen[0]?.id as number, 'done');
  expect(await waiting).toEqual({ name: 'waits' });
  await Promise.all([first, gone]);
  expect(connector.made.map((each) => each.request_.caller?.principal)).toEqual(['a', 'c']);
  // It is served as ever when it comes back.
  expect(await outcome(call('again', as('b')))).toEqual({ name: 'again' });
});

test('bound: a principal takes no spare beyond its share', async () => {
  const { pool, call, clock } = memoryPool({ acquireTimeoutMs: 500 });
  pool.addServer({ ...MEMORY, sharing: 'bound', maxConnections: 4, warmSpares: 1 });
  for (const key of ['k1', 'k2', 'k3']) await call(key, as('a', key));
  const fourth = outcome(call('k4', as('a', 'k4')));
  await settled();
  expect(await call('b1', as('b', 'k1'))).toEqual({ name: 'b1' });
  await clock.advance(530);
  expect(await fourth).toBe('ERR_ACQUIRE_TIMEOUT');
  await pool.close({ graceMs: 0 });
});

test('maxConnectionsTotal bounds the pool over all its servers', async () => {
  const { pool, connector, clock } = memoryPool({ maxConnectionsTotal: 2 });
  for (const name of ['a', 'b', 'c']) pool.addServer({ ...MEMORY, name });
  for (const name of ['a', 'b', 'a', 'c']) {
    await pool.request(name, 'tools/call', { name });
    await clock.advance(10);
    expect(connector.live.length).toBeLessThanOrEqual(2);
  }
  expect(['a', 'b', 'c'].map((name) => pool.stats(name).connections)).toEqual([1, 0, 1]);
});

test('principals whose starts failed and who never came back are forgotten', async () => {
  const { pool, connector, call, clock } = memoryPool({ backoff: { maxMs: 1_000 } });
  pool.addServer(MEMORY);
  connector.onStart = () => Promise.reject(new Error('no'));
  for (let i = 0; i < 200; i++) await outcome(call('a', as(`p${i}`)));
  expect(pool.state('s')).toBe('failed');
  await clock.advance(5_000);
  connector.onStart = () => undefined;
  for (let i = 0; i < 64; i++) await call('a', as(`q${i}`));
  // Those that failed no longer count: what is left is up or idle.
  expect(pool.stats('s').backoffMs).toBeUndefined();
  expect(['ready', 'idle']).toContain(pool.state('s'));
});

test('leased: the death of one connection leaves the others, and the server ready', async () => {
  const { pool, connector, call } = memoryPool();
  pool.addServer({ ...MEMORY, sharing: 'leased' });
  const hanging = [outcome(call('hang')), outcome(call('hang'))];
  await settled();
  connector.made[0]?.die('it crashed');
  expect(await Promise.race(hanging)).toBe('ERR_OUTCOME_UNKNOWN');
  expect(pool.state('s')).toBe('ready');
  await pool.close({ graceMs: 0 });
  await Promise.all(hanging);
});

test('a seat that somebody waits for is free when the last call of whoever sits there is back', async () => {
  const { pool, connector, call } = memoryPool();
  pool.addServer({ ...MEMORY, maxConnections: 1 });
  const first = call('hang', as('a'));
  await settled();
  const second = call('b', as('b'));
  await settled();
  connector.last.answer(1, 'done');
  expect(await first).toBe('done');
  expect(await second).toEqual({ name: 'b' });
});
