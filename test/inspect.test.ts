import { expect, test } from 'vitest';
import { Gateway } from '../src/gateway/Gateway.js';
import { ToolCatalog } from '../src/gateway/ToolCatalog.js';
import { ServerRegistry } from '../src/registry/config/ServerRegistry.js';
import { LifecycleManager } from '../src/registry/lifecycle/LifecycleManager.js';
import { BackgroundWorker } from '../src/shutdown/BackgroundWorker.js';
import { Health } from '../src/shutdown/Health.js';
import { InFlight } from '../src/shutdown/InFlight.js';
import { ShutdownPlan } from '../src/shutdown/ShutdownPlan.js';
import { FileCache } from '../src/toolstore/FileCache.js';
import { NoOpCache } from '../src/toolstore/NoOpCache.js';
import { FakePool } from './support/FakePool.js';
import { MEMORY, memoryPool, outcome } from './support/memoryPool.js';
import { tempFolder } from './support/tempFolder.js';

/** Fit for a debug page: it survives JSON. */
const json = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

test('a plan tells how far each step is', async () => {
  const plan = new ShutdownPlan({ totalMs: 5_000 });
  let during: unknown;
  plan.add('first', () => undefined, { phase: 'refuse' });
  plan.add('second', () => {
    during = json(plan.inspect());
  });
  expect(plan.inspect()).toMatchObject({ stopping: false, phase: undefined, elapsedMs: undefined, totalMs: 5_000 });
  expect(plan.inspect().steps.map(({ state }) => state)).toEqual(['waiting', 'waiting']);
  await plan.shutdown();
  const steps = [
    { name: 'first', phase: 'refuse', state: 'settled' },
    { name: 'second', phase: 'close', state: 'running' },
  ];
  expect(during).toMatchObject({ stopping: true, phase: 'close', steps });
});

test('in-flight work is named, the oldest first and never more than 100 of it', async () => {
  const work = new InFlight({ name: 'jobs' });
  const entries = Array.from({ length: 150 }, (_, i) => work.begin(`job ${i}`));
  const idle = work.idle();
  const { oldest, ...rest } = work.inspect();
  expect(rest).toEqual({ name: 'jobs', size: 150, waiting: 1, refusing: false });
  expect([oldest.length, oldest[0], oldest[99]]).toEqual([100, 'job 0', 'job 99']);
  for (const entry of entries) entry.end();
  await idle;
  await work.close();
  expect(work.inspect()).toEqual({ name: 'jobs', size: 0, oldest: [], waiting: 0, refusing: true });
});

test('health tells its last findings and runs nothing', async () => {
  let runs = 0;
  const health = new Health({ checks: { disk: () => ++runs, net: () => false } });
  expect(health.inspect()).toEqual({ stopping: false, names: ['disk', 'net'], last: [] });
  await health.ready();
  const { last } = health.inspect();
  expect(last.map(({ name, ok }) => [name, ok])).toEqual([
    ['disk', true],
    ['net', false],
  ]);
  expect(runs).toBe(1);
});

test('a cache tells its folder and counters', async () => {
  const directory = tempFolder();
  await using cache = new FileCache({ directory });
  await cache.set('a', 1);
  await cache.get('a');
  expect(json(cache.inspect())).toMatchObject({ directory, entries: 1, hits: 1, unsaved: 0 });
});

test('a manager lists its servers, dead ones too', async () => {
  const manager = new LifecycleManager({ ledger: false, maxServers: 3 });
  const config = { name: 'cat', command: process.execPath, args: ['-e', 'process.stdin.resume()'] };
  const handle = await manager.start(config);
  expect(json(manager.inspect())).toMatchObject({
    servers: [{ id: handle.id, name: 'cat' }],
    maxServers: 3,
    closing: false,
  });
  await manager.close();
  expect(manager.inspect()).toMatchObject({ servers: [{ id: handle.id }], closing: true });
});

test('a pool tells its servers, its connections and what waits for one, and no caller', async () => {
  const { pool, call } = memoryPool({ maxConnectionsTotal: 1, maxHoldMs: 60_000 });
  pool.addServer({ ...MEMORY, sharing: 'bound' });
  await call('x', { caller: { principal: 'ann', key: 'secret' } });
  const waiting = outcome(call('y', { caller: { principal: 'bob', key: 'other' } }));
  await new Promise((resolve) => setImmediate(resolve));
  const seen = pool.inspect();
  expect(json(seen)).toMatchObject({
    name: 'MemoryPool',
    closing: false,
    servers: [{ name: 's', state: 'ready', connections: 1, queued: 1 }],
    leaving: 0,
    connections: 1,
    maxConnectionsTotal: 1,
    maxConnections: 16,
    waitingForConnection: 1,
  });
  expect(JSON.stringify(seen)).not.toMatch(/ann|secret/);
  await pool.close();
  expect(await waiting).toBe('ERR_CLOSED');
  expect(pool.inspect()).toMatchObject({ closing: true, connections: 0, waitingForConnection: 0 });
});

test('a worker tells whether it runs and how often it has', async () => {
  let inside: unknown;
  const worker = new BackgroundWorker({
    name: 'sweep',
    intervalMs: 60_000,
    runImmediately: true,
    run: () => {
      inside = worker.inspect();
    },
  });
  expect(worker.inspect()).toMatchObject({ name: 'sweep', started: false, running: false, runs: 0 });
  worker.start();
  expect(inside).toMatchObject({ started: true, running: true, runs: 1, intervalMs: 60_000 });
  await worker.close();
  expect(json(worker.inspect())).toMatchObject({ running: false, runs: 1, closing: true });
});

test('a registry tells its servers without what may be a secret', async () => {
  await using registry = new ServerRegistry();
  registry.add({ name: 'a', transport: 'stdio', command: 'x', env: { TOKEN: 'hidden' }, enabled: false });
  const seen = registry.inspect();
  expect(seen).toMatchObject({ servers: [{ name: 'a', transport: 'stdio', enabled: false }], closing: false });
  expect(JSON.stringify(seen)).not.toContain('hidden');
});

test('a catalog tells the lists that it fetches', async () => {
  let answer: () => void = () => undefined;
  const list = new Promise<readonly unknown[]>((resolve) => {
    answer = () => resolve([]);
  });
  const pool = new FakePool({ one: { lists: { tools: () => list } } });
  await using catalog = new ToolCatalog({ pool, cache: new NoOpCache() });
  const asked = catalog.tools('one');
  await new Promise((resolve) => setImmediate(resolve));
  expect(catalog.inspect()).toEqual({ loading: 1, invalidating: [], closing: false });
  answer();
  await asked;
  expect(catalog.inspect().loading).toBe(0);
});

test('a gateway tells its counters and servers', async () => {
  const gateway = new Gateway({ pool: new FakePool({ one: {} }), port: 0 });
  await gateway.listen();
  expect(gateway.inspect()).toMatchObject({ servers: ['one'], sessions: 0, inFlight: 0, refusing: false });
  await gateway.close();
  expect(gateway.inspect().refusing).toBe(true);
});
