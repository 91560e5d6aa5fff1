import { availableParallelism } from 'node:os';
import { expect, test } from 'vitest';
import { RequestTimeoutError, StartError } from '../../../src/core/errors.js';
import type { PoolEvents } from '../../../src/pool/McpPool.js';
import { MEMORY, memoryPool, outcome } from '../../support/memoryPool.js';

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('a start is waited for as long as startTimeoutMs says, also beyond acquireTimeoutMs', async () => {
  const { pool, connector, call, clock } = memoryPool({ acquireTimeoutMs: 1_000, startTimeoutMs: 60_000 });
  pool.addServer(MEMORY);
  connector.onStart = () => new Promise((resolve) => clock.setTimer(resolve, 45_000));
  const waiting = call('a');
  await clock.advance(45_000);
  expect(await waiting).toEqual({ name: 'a' });
});

test('a start whose handshake is not answered is told as that, with the option that gives it more time', async () => {
  const { pool, connector, call } = memoryPool();
  pool.addServer(MEMORY);
  connector.onStart = () => {
    const cause = new RequestTimeoutError('s', 'initialize', 30_000);
    throw new StartError('s', cause.message, { stderr: ['still loading'] }, cause);
  };
  const error = (await call('a').catch((thrown: unknown) => thrown)) as StartError;
  expect(error).toMatchObject({ code: 'ERR_START_FAILED', stderr: ['still loading'] });
  expect(error.message).toContain('initialize was not answered within 30000 ms (startTimeoutMs)');
});

test('wrapConnection counts into the start: one that hangs fails it, and nothing is left', async () => {
  const { pool, connector, call, clock } = memoryPool({
    startTimeoutMs: 1_000,
    wrapConnection: () => new Promise(() => undefined),
  });
  pool.addServer(MEMORY);
  const waiting = outcome(call('a'));
  await clock.advance(2_600);
  expect(await waiting).toBe('ERR_START_FAILED');
  expect(connector.live).toEqual([]);
});

test('warm connections for which there is no room are not tried without a pause', async () => {
  const { pool, connector, call } = memoryPool();
  pool.addServer({ ...MEMORY, sharing: 'leased', warmSpares: 2, maxConnections: 2 });
  await call('a');
  await settled();
  const holding = await pool.lease('s', { caller: { principal: 'p' } });
  await settled();
  expect(connector.live).toHaveLength(2);
  holding.release();
});

test('a server that ignores ping is asked for a list before it is ended, and from then on', async () => {
  const { pool, connector, call, clock } = memoryPool({ healthIntervalMs: 1_000, healthTimeoutMs: 100 });
  pool.addServer(MEMORY);
  const asked: string[] = [];
  let answersLists = true;
  connector.onMessage = ({ id, method }, connection) => {
    if (id !== undefined && method !== 'tools/call') asked.push(method);
    if (id !== undefined && method !== 'ping' && (answersLists || method === 'tools/call')) connection.answer(id, {});
  };
  await call('a');
  Object.assign(connector.last.info.capabilities, { tools: {} });
  await clock.advance(10_000);
  expect(connector.last.alive).toBe(true);
  expect(asked.slice(0, 3)).toEqual(['ping', 'ping', 'tools/list']);
  expect(new Set(asked.slice(3))).toEqual(new Set(['tools/list']));
  answersLists = false;
  await clock.advance(5_000);
  expect(connector.made[0]?.alive).toBe(false);
  expect(pool.stats('s').lastError).toBe('ping timed out');
});

test('a bound server that ignores ping and offers no list keeps its sessions: what it refuses shows that it lives', async () => {
  const { pool, connector, call, clock } = memoryPool({ healthIntervalMs: 1_000, healthTimeoutMs: 100 });
  pool.addServer({ ...MEMORY, sharing: 'bound' });
  connector.onMessage = ({ id, method }, connection) => {
    if (id === undefined || method === 'ping') return;
    if (method === 'tools/call') connection.answer(id, {});
    else connection.say({ id, error: { code: -32601, message: 'unknown' } });
  };
  await call('a', { caller: { key: 'a', keepAlive: true } });
  await clock.advance(120_000);
  expect(connector.made.map(({ alive }) => alive)).toEqual([true]);
});

test('bound: a newcomer beyond the limit waits and is refused; no session loses its connection to it', async () => {
  const { pool, connector, call, clock } = memoryPool({ acquireTimeoutMs: 500, maxHoldMs: 10 });
  pool.addServer({ ...MEMORY, sharing: 'bound', maxConnections: 1 });
  await call('a', { caller: { key: 'a' } });
  const refused = outcome(call('b', { caller: { key: 'b' } }));
  await clock.advance(600);
  expect(await refused).toBe('ERR_ACQUIRE_TIMEOUT');
  expect(connector.made.map(({ alive }) => alive)).toEqual([true]);
  const waiting = call('b', { caller: { key: 'b' } });
  await settled();
  await pool.releaseKey('s', 'a');
  expect(await waiting).toEqual({ name: 'b' });
});

test.each([{ principal: 'p' }, { origin: '10.0.0.9' }])(
  'a principal or address has a few starts at a time; the next begins when one is up, or after a second, unless its caller has left: %o',
  async (who) => {
    const max = Math.max(4, availableParallelism());
    const { pool, connector, call, clock } = memoryPool();
    pool.addServer({ ...MEMORY, sharing: 'bound', maxConnections: 4 * max });
    const starting: (() => void)[] = [];
    connector.onStart = () => new Promise((resolve) => starting.push(resolve));
    const ask = (key: string, signal?: AbortSignal): Promise<unknown> =>
      outcome(call(key, { caller: { ...who, key }, ...(signal && { signal }) }));
    const first = Array.from({ length: max }, (_, i) => ask(`${i}`));
    const leave = new AbortController();
    const left = ask('left', leave.signal);
    const next = ask('next');
    await settled();
    expect(starting).toHaveLength(max);
    // Another one does not wait for it.
    const other = call('other', { caller: { principal: 'other', key: 'k' } });
    await settled();
    expect(starting).toHaveLength(max + 1);
    starting.pop()?.();
    expect(await other).toEqual({ name: 'other' });
    leave.abort(new Error('left'));
    starting.shift()?.();
    await Promise.all([left, first[0]]);
    await settled();
    expect(starting).toHaveLength(max);
    // Those that take long hold up the others for a second.
    const late = ask('late');
    await settled();
    expect(starting).toHaveLength(max);
    await clock.advance(1_000);
    expect(starting).toHaveLength(max + 1);
    for (const up of starting.splice(0)) up();
    expect(await Promise.all([next, late])).toEqual([{ name: 'next' }, { name: 'late' }]);
    await Promise.all(first);
    // For the one that has left nothing was started.
    expect(connector.made).toHaveLength(max + 3);
  },
);

test('bound: the end of a session’s connection is told with whose it was, but not after releaseKey', async () => {
  const { pool, connector, call, clock } = memoryPool({ idleTimeoutMs: 10_000, healthIntervalMs: Infinity });
  pool.addServer({ ...MEMORY, sharing: 'bound' });
  const lost: PoolEvents['sessionLost'][] = [];
  pool.on('sessionLost', (event) => lost.push(event));
  for (const key of ['died', 'idled', 'released']) await call(key, { caller: { principal: 'p', key } });
  connector.made[0]?.die('it crashed');
  await pool.releaseKey('s', 'released');
  await clock.advance(11_000);
  expect(lost).toEqual([
    { server: 's', principal: 'p', key: 'died', reason: 'it crashed' },
    { server: 's', principal: 'p', key: 'idled', reason: 'it was idle' },
  ]);
});

test('breakerScope: the trouble of one principal or tool is that one’s', async () => {
  for (const [scope, mine, others] of [
    ['principal', { caller: { principal: 'a' } }, { caller: { principal: 'b' } }],
    ['tool', {}, {}],
  ] as const) {
    const { pool, call } = memoryPool({ breakerScope: scope, breakerThreshold: 2, stableAfterMs: 0 });
    pool.addServer(MEMORY);
    for (let i = 0; i < 2; i++) expect(await outcome(call('crash', mine))).toBe('ERR_OUTCOME_UNKNOWN');
    expect(await outcome(call('crash', mine))).toBe('ERR_CIRCUIT_OPEN');
    expect(await call('b', others)).toEqual({ name: 'b' });
    expect(pool.stats('s')).toMatchObject({ breaker: 'open', state: 'ready' });
  }
});

test('breakerScope tool: names that one caller makes up close no breaker that is open, even of a tool that it named first', async () => {
  for (const first of ['ann', 'eve']) {
    const { pool, call } = memoryPool({ breakerScope: 'tool', breakerThreshold: 2, stableAfterMs: 0 });
    pool.addServer(MEMORY);
    const by = (principal: string) => ({ caller: { principal } });
    for (let i = 0; i < 2; i++) expect(await outcome(call('crash', by(first)))).toBe('ERR_OUTCOME_UNKNOWN');
    for (let i = 0; i < 1_100; i++) await call(`made-up${i}`, by('eve'));
    expect(await outcome(call('crash', by('ann')))).toBe('ERR_CIRCUIT_OPEN');
    expect(await call('another', by('ann'))).toEqual({ name: 'another' });
  }
});

test('one caller’s own short timeouts open the breaker for nobody', async () => {
  const { pool, call, clock } = memoryPool({ breakerThreshold: 3 });
  pool.addServer(MEMORY);
  await call('a');
  const hanging = Array.from({ length: 10 }, () => outcome(call('hang', { timeoutMs: 10 })));
  await clock.advance(50);
  expect(new Set(await Promise.all(hanging))).toEqual(new Set(['ERR_REQUEST_TIMEOUT']));
  expect(await call('a')).toEqual({ name: 'a' });
});
