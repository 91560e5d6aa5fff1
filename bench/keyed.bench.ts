import { strict as assert } from 'node:assert';
import { KeyedPool, type Lease, ResourcePool } from '../src/pool/index.js';
import type { Bench } from './harness.js';
import { factory, type Thing } from './poolPeers.js';

/** What a key costs: bytes, timer callbacks and CPU while it idles, and nanoseconds when it is used. */
export async function suite(bench: Bench): Promise<void> {
  await idleKeys(bench, 1_000);
  await idleKeys(bench, 10_000);
  await use(bench);
}

function heapBytes(): number {
  globalThis.gc?.();
  globalThis.gc?.();
  return process.memoryUsage().heapUsed;
}

/** So many keys, each with one resource that was used once and idles. */
async function idleKeys(bench: Bench, keys: number): Promise<void> {
  const arm = globalThis.setTimeout;
  let fired = 0;
  const counted = (callback: (...args: unknown[]) => void, ms?: number, ...args: unknown[]): NodeJS.Timeout =>
    arm(() => {
      fired++;
      callback(...args);
    }, ms);
  globalThis.setTimeout = Object.assign(counted, arm) as typeof setTimeout;
  try {
    const pool = new KeyedPool<string, Thing>(
      { create: () => ({ uses: 0 }), destroy: () => undefined },
      { maxResources: keys, idleTimeoutMs: Number.POSITIVE_INFINITY },
    );
    const before = heapBytes();
    for (let i = 0; i < keys; i++) {
      await pool.use(`key ${i}`, (thing) => {
        thing.uses++;
      });
    }
    await new Promise((resolve) => arm(resolve, 6_500));
    const bytes = (heapBytes() - before) / keys;
    assert.equal(pool.stats.resources, keys);
    fired = 0;
    const cpu = process.cpuUsage();
    const seconds = bench.quick ? 2 : 6;
    await new Promise((resolve) => arm(resolve, seconds * 1_000));
    const { user, system } = process.cpuUsage(cpu);
    const cpuMs = (user + system) / 1_000 / seconds;
    bench.note(`${keys} idle keys: ${bytes.toFixed(0)} bytes each, ${cpuMs.toFixed(2)} ms of CPU a second`);
    bench.target(`${keys} idle keys: timer callbacks a second`, fired / seconds, '<=', 5);
    bench.target(`${keys} idle keys: bytes each`, bytes, '<=', 20_480);
    await pool.close();
  } finally {
    globalThis.setTimeout = arm;
  }
}

async function use(bench: Bench): Promise<void> {
  const plain = factory();
  const pool = new ResourcePool<Thing>({ create: plain.create, destroy: () => undefined });
  const many = factory();
  const keyed = new KeyedPool<string, Thing>({ create: many.create, destroy: () => undefined }, { maxResources: 100 });
  const keys = Array.from({ length: 100 }, (_, i) => `key ${i}`);
  for (const key of keys) (await keyed.acquire(key)).release();
  (await pool.acquire()).release();
  const loop = (uses: () => number, take: (i: number) => Lease<Thing> | undefined) => (n: number) => {
    const before = uses();
    for (let i = 0; i < n; i++) {
      const lease = take(i) as Lease<Thing>;
      lease.resource.uses++;
      lease.release();
    }
    assert.equal(uses() - before, n);
  };
  const figure = await bench.race(
    'tryAcquire + release',
    [
      { name: 'ResourcePool', run: loop(plain.uses, () => pool.tryAcquire()) },
      { name: 'KeyedPool, 100 keys in turn', run: loop(many.uses, (i) => keyed.tryAcquire(keys[i % 100] as string)) },
    ],
    { operations: 200_000, rounds: 11 },
  );
  const ratio = figure('KeyedPool, 100 keys in turn').medianNs / figure('ResourcePool').medianNs;
  bench.target('KeyedPool: times the cost of ResourcePool', ratio, '<=', 10);
  await pool.close();
  await keyed.close();
}
