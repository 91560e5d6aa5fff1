import { expect, test } from 'vitest';
import { MemoryEraStore } from '../../src/core/era/EraStore.js';
import type { PoolOptions } from '../../src/pool/server/options.js';
import { UnifiedPool } from '../../src/pool/UnifiedPool.js';
import { closeAfter } from '../support/closeAfter.js';
import { type FakeAnswer, FakeNet, fakeServer, fakeTransports, type Transport } from '../support/fakeTransports.js';
import { failure } from '../support/rawCalls.js';

const SLOW_RETRY: PoolOptions = { backoff: { initialMs: 60_000, maxMs: 60_000, jitterRatio: 0 } };

/** A pool over fakes. */
function fakes(options: PoolOptions = {}, net = new FakeNet()) {
  const { connectors } = fakeTransports(net);
  const pool = closeAfter(new UnifiedPool({ connectors, ...options }));
  const wireOf = async (name: string, caller = {}): Promise<Transport> =>
    ((await pool.request(name, 'ping', undefined, { caller })) as FakeAnswer).wire;
  return { net, pool, wireOf };
}

/** One whose starts take their time, with a first call under way. */
async function deciding(options: PoolOptions = {}) {
  const parts = fakes(options);
  const release = parts.net.hold();
  parts.pool.addServer(fakeServer('x', 'sse', undefined));
  const call = parts.wireOf('x');
  // Some tests ask later how it ended.
  call.catch(() => undefined);
  await expect.poll(() => parts.net.starts).toEqual(['x http']);
  expect(parts.pool.state('x')).toBe('starting');
  return { ...parts, release, call };
}

test('one try serves all who ask, and is told as one start, not as a failure over the wrong wire', async () => {
  const { net, pool, wireOf } = fakes();
  const states: string[] = [];
  pool.on('state', ({ state, previous }) => states.push(`${previous} ${state}`));
  pool.addServer(fakeServer('x', 'sse', undefined));
  expect(await Promise.all([wireOf('x'), wireOf('x'), wireOf('x')])).toEqual(['sse', 'sse', 'sse']);
  expect(net.starts).toEqual(['x http', 'x sse']);
  expect(states).toEqual(['idle starting', 'starting ready']);
});

test('what was found is remembered, also by the next pool, and found out anew when it is no longer so', async () => {
  const eraStore = new MemoryEraStore();
  const first = fakes({ eraStore });
  first.pool.addServer(fakeServer('x', 'sse', undefined));
  await first.wireOf('x');
  const second = fakes({ eraStore });
  second.pool.addServer(fakeServer('x', 'sse', undefined));
  await second.wireOf('x');
  expect(second.net.starts).toEqual(['x sse']);
  const config = fakeServer('y', 'http', undefined);
  const misled = new MemoryEraStore();
  misled.get = async () => ({ era: 'legacy', transport: 'sse', at: 0 });
  const third = fakes({ eraStore: misled });
  third.pool.addServer(config);
  expect(await third.wireOf('y')).toBe('http');
  expect(third.net.starts).toEqual(['y sse', 'y http']);
});

test('a store that fails or never answers does not stand in the way', async () => {
  const eraStore = new MemoryEraStore();
  eraStore.get = () => new Promise(() => undefined);
  eraStore.set = () => Promise.reject(new Error('disk full'));
  const { pool, wireOf } = fakes({ eraStore, startTimeoutMs: 20 });
  pool.addServer(fakeServer('x', 'http', undefined));
  expect(await wireOf('x')).toBe('http');
});

test('a failed start backs off, and starting it on purpose does not wait', async () => {
  const { net, pool, wireOf } = fakes(SLOW_RETRY);
  pool.addServer(fakeServer('x', 'nothing', undefined));
  expect(await failure(wireOf('x'))).toMatchObject({ code: 'ERR_START_FAILED' });
  expect(await failure(wireOf('x'))).toMatchObject({ code: 'ERR_BACKING_OFF', cause: { code: 'ERR_START_FAILED' } });
  expect(net.starts).toHaveLength(1);
  expect(pool.stats('x')).toMatchObject({ state: 'failed', backoffMs: expect.any(Number) });
  await expect(pool.startServer('x')).rejects.toMatchObject({ code: 'ERR_START_FAILED' });
  expect(net.starts).toHaveLength(2);
});

test('that one principal is let in nowhere says nothing of another', async () => {
  const { pool, wireOf } = fakes(SLOW_RETRY);
  pool.addServer(fakeServer('x', 'http', undefined));
  const mallory = failure(wireOf('x', { principal: 'mallory' }));
  const ann = wireOf('x', { principal: 'ann' });
  expect(await mallory).toMatchObject({ code: 'ERR_UNAUTHORIZED' });
  expect(await ann).toBe('http');
});

test('removed in the middle of it, it leaves nothing, and a new server of that name is left alone', async () => {
  const { net, pool, wireOf, release, call } = await deciding();
  const removed = pool.removeServer('x');
  pool.addServer(fakeServer('x', 'http', 'http'));
  const again = wireOf('x');
  await removed;
  expect(await failure(call)).toMatchObject({ code: 'ERR_CLOSED' });
  release();
  expect(await again).toBe('http');
  expect(net.starts.filter((start) => start === 'x sse')).toEqual([]);
});

test('stopped in the middle of it, its callers are told so, and it starts again on purpose only', async () => {
  const { net, pool, wireOf, release, call } = await deciding();
  await pool.stopServer('x');
  release();
  expect(await failure(call)).toMatchObject({ code: 'ERR_SERVER_STOPPED' });
  expect(await failure(wireOf('x'))).toMatchObject({ code: 'ERR_SERVER_STOPPED' });
  expect([net.live.size, net.starts]).toEqual([0, ['x http']]);
  await pool.startServer('x');
  expect(await wireOf('x')).toBe('sse');
});

test('one that is switched off does not start by being used', async () => {
  const { pool, wireOf } = fakes();
  pool.addServer(fakeServer('x', 'http', undefined, 0, { enabled: false }));
  expect(pool.state('x')).toBe('stopped');
  expect(await failure(wireOf('x'))).toMatchObject({ code: 'ERR_SERVER_STOPPED' });
  await pool.startServer('x');
  expect(await wireOf('x')).toBe('http');
});

test('closing in the middle of it refuses its callers at once and leaves nothing', async () => {
  const { net, pool, call } = await deciding();
  const closed = pool.close();
  expect(await failure(call)).toMatchObject({ code: 'ERR_CLOSED' });
  await closed;
  expect([net.starts, net.live.size]).toEqual([['x http'], 0]);
  expect(pool.state('x')).toBe('stopped');
});

test('an apply that keeps it does not disturb a try under way; one that changes it begins anew', async () => {
  const { net, pool, release, call } = await deciding();
  const unchanged = { added: [], removed: [], restarted: [], unchanged: ['x'] };
  expect(await pool.apply([fakeServer('x', 'sse', undefined)])).toEqual(unchanged);
  await new Promise((resolve) => setImmediate(resolve));
  expect([net.starts, pool.state('x')]).toEqual([['x http'], 'starting']);
  const changed = fakeServer('x', 'sse', undefined, 1);
  expect(await pool.apply([changed])).toEqual({ ...unchanged, unchanged: [], restarted: ['x'] });
  release();
  // It never ran, so the server in its place answers it.
  expect(await call).toBe('sse');
  expect(await pool.request('x', 'ping')).toMatchObject({ address: 'sse-1' });
});

test('a caller’s time covers the finding out, and a caller who leaves does not end it for the others', async () => {
  const { net, pool, wireOf } = fakes();
  const release = net.hold();
  pool.addServer(fakeServer('x', 'sse', undefined));
  const other = wireOf('x');
  const late = [{ deadlineMs: 1 }, { acquireTimeoutMs: 1 }].map((times) =>
    failure(pool.request('x', 'ping', undefined, times)),
  );
  for (const error of await Promise.all(late)) expect(error).toMatchObject({ code: 'ERR_ACQUIRE_TIMEOUT' });
  const gone = pool.request('x', 'ping', undefined, { signal: AbortSignal.abort(new Error('left')) });
  await expect(gone).rejects.toThrow('left');
  release();
  expect(await other).toBe('sse');
});

test('a name moves between wires without a moment in which it is unknown', async () => {
  const { net, pool, wireOf } = fakes();
  const places: readonly (Transport | undefined)[] = ['stdio', 'http', undefined, 'sse', undefined, 'stdio'];
  const speaks = (transport: Transport | undefined): Transport => transport ?? 'sse';
  await pool.startServer(fakeServer('x', 'stdio', 'stdio', 9));
  const codes = new Set<string>();
  let moving = true;
  const load = Array.from({ length: 4 }, async () => {
    while (moving) {
      await wireOf('x').catch((error: { code: string }) => codes.add(error.code));
      await new Promise((resolve) => setImmediate(resolve));
    }
  });
  for (const [version, transport] of places.entries()) {
    const config = fakeServer('x', speaks(transport), transport, version);
    const report = await pool.apply([config]);
    expect(report.restarted).toEqual(['x']);
    expect(await wireOf('x')).toBe(speaks(transport));
  }
  moving = false;
  await Promise.all(load);
  // A call may be cut off with the old place, but is never told that there is no such server.
  expect(codes).not.toContain('ERR_SERVER_NOT_FOUND');
  expect([...net.live].map(({ server }) => server)).toEqual(['x']);
});

test('startServer with the same config may be called again, after a failure and while it runs; another config may not', async () => {
  const { net, pool } = fakes(SLOW_RETRY);
  const config = fakeServer('x', 'nothing', undefined);
  await expect(pool.startServer(config)).rejects.toMatchObject({ code: 'ERR_START_FAILED' });
  await expect(pool.startServer(config)).rejects.toMatchObject({ code: 'ERR_START_FAILED' });
  expect(net.starts).toHaveLength(2);
  await expect(pool.startServer(fakeServer('x', 'http', undefined))).rejects.toMatchObject({ code: 'ERR_OPTION' });
  await pool.startServer(fakeServer('y', 'http', undefined));
  await pool.startServer(fakeServer('y', 'http', undefined));
  expect(net.starts.slice(2)).toEqual(['y http']);
});

test('a shared server found to speak SSE takes no caller with capabilities, and tells what to set', async () => {
  const { pool, wireOf } = fakes();
  pool.addServer(fakeServer('x', 'sse', undefined));
  expect(await wireOf('x')).toBe('sse');
  const caller = { capabilities: { sampling: {} } };
  expect(await failure(wireOf('x', caller))).toMatchObject({
    code: 'ERR_OPTION',
    message: expect.stringContaining('bound'),
  });
  expect(await wireOf('x')).toBe('sse');
});
