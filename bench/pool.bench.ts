import { strict as assert } from 'node:assert';
import { type Lease, RESOURCE_POOL_DEFAULTS, ResourcePool, type ResourcePoolOptions } from '../src/pool/index.js';
import type { Bench, Contender, Figure } from './harness.js';
import {
  asyncSema,
  factory,
  floor,
  genericPool,
  lightning,
  RESOURCES,
  type Rival,
  type Thing,
  tarn,
} from './poolPeers.js';

const forever = Number.POSITIVE_INFINITY;
const WAITERS = 20_000;
const OURS = 'ResourcePool acquire + release';
const USUAL = 'ResourcePool, the default acquire timeout';
const TRY = 'ResourcePool tryAcquire + release';

/** Our pool, all its resources live. */
async function ours(options: ResourcePoolOptions = {}) {
  const { create, uses } = factory();
  const all = { maxResources: RESOURCES, slotsPerResource: 1, ...options };
  const pool = new ResourcePool<Thing>(
    { create, destroy: () => undefined },
    { maxQueue: forever, acquireTimeoutMs: forever, parkAfterMs: forever, maxConcurrentCreates: forever, ...all },
  );
  const leases = Array.from({ length: all.maxResources * all.slotsPerResource }, () => pool.acquire());
  for (const lease of await Promise.all(leases)) lease.release();
  return { pool, uses };
}

/** Runs and counts: `run(n)` must use things n times. */
function proven(
  name: string,
  uses: () => number,
  run: (n: number) => void | Promise<void>,
  operations?: number,
): Contender {
  return {
    name,
    ...(operations === undefined ? {} : { operations }),
    run: async (n) => {
      const before = uses();
      await run(n);
      assert.equal(uses() - before, n);
    },
  };
}

export async function suite(bench: Bench): Promise<void> {
  const peers = await Promise.all([genericPool(), tarn(), lightning()]);
  const sema = asyncSema();
  await uncontended(bench, peers, sema);
  await contended(bench, peers, sema);
  await sizes(bench);
  await million(bench);
  await heap(bench);
  for (const { close } of peers) await close();
}

async function uncontended(bench: Bench, peers: readonly Rival[], sema: Rival): Promise<void> {
  const { pool, uses } = await ours();
  const shared = await ours({ slotsPerResource: 16 });
  const figure = await bench.race(
    'uncontended, 10 resources',
    [
      proven(OURS, uses, async (n) => {
        for (let i = 0; i < n; i++) {
          const lease = await pool.acquire();
          lease.resource.uses++;
          lease.release();
        }
      }),
      proven(TRY, uses, (n) => {
        for (let i = 0; i < n; i++) {
          const lease = pool.tryAcquire() as Lease<Thing>;
          lease.resource.uses++;
          lease.release();
        }
      }),
      proven(`${OURS}, 16 slots`, shared.uses, async (n) => {
        for (let i = 0; i < n; i++) {
          const lease = await shared.pool.acquire();
          lease.resource.uses++;
          lease.release();
        }
      }),
      ...[...peers, sema, floor()].map(({ name, uses: used, loop }) =>
        proven(name, used, loop, name === 'tarn' ? 50_000 : undefined),
      ),
    ],
    { operations: 200_000, rounds: 15 },
  );
  const ns = (name: string): number => figure(name).medianNs;
  for (const { name } of peers) bench.target(`${OURS}: times faster than ${name}`, ns(name) / ns(OURS), '>=', 6);
  bench.target(`${OURS}: times the cost of async-sema`, ns(OURS) / ns(sema.name), '<=', 1.5);
  bench.target(`${TRY}: times faster than generic-pool`, ns('generic-pool') / ns(TRY), '>=', 20);
  await pool.close();
  await shared.pool.close();
}

async function contended(bench: Bench, peers: readonly Rival[], sema: Rival): Promise<void> {
  const { pool, uses } = await ours();
  // What every user has who sets no timeout: the default one.
  const { acquireTimeoutMs } = RESOURCE_POOL_DEFAULTS;
  const usual = await ours({ acquireTimeoutMs });
  const { signal } = new AbortController();
  const everybody =
    (once: () => Promise<void>) =>
    async (n: number): Promise<void> => {
      await Promise.all(Array.from({ length: n }, once));
    };
  const variants = [
    ['ResourcePool', undefined],
    ['ResourcePool, one shared signal', { signal }],
    ['ResourcePool, a timeout each', { acquireTimeoutMs: 60_000 }],
    ['ResourcePool, both', { signal, acquireTimeoutMs: 60_000 }],
  ] as const;
  const figure = await bench.race(
    `contended, ${WAITERS} waiters on 10 resources`,
    [
      ...variants.map(([name, options]) =>
        proven(
          name,
          uses,
          everybody(async () => {
            const lease = await pool.acquire(options);
            lease.resource.uses++;
            lease.release();
          }),
        ),
      ),
      proven(
        USUAL,
        usual.uses,
        everybody(async () => {
          const lease = await usual.pool.acquire();
          lease.resource.uses++;
          lease.release();
        }),
      ),
      ...[...peers, sema].map(({ name, uses: used, once }) => proven(name, used, everybody(once))),
    ],
    { operations: WAITERS * (bench.quick ? 5 : 1), rounds: 15 },
  );
  const fastestPeer = Math.min(...peers.map(({ name }) => figure(name).medianNs));
  const times = (of: Figure): number => fastestPeer / of.medianNs;
  bench.target('contended: times faster than the fastest peer', times(figure('ResourcePool')), '>=', 1.7);
  bench.target(`contended, ${USUAL}: times faster than the fastest peer without`, times(figure(USUAL)), '>=', 1.5);
  for (const [name] of variants.slice(1)) {
    bench.target(`contended, ${name}: times faster than the fastest peer`, times(figure(name)), '>=', 1);
  }
  await pool.close();
  await usual.pool.close();
}

/** Every resource touched: all are taken, then all given back. */
async function sizes(bench: Bench): Promise<void> {
  const counts = [10, 1_000, 10_000];
  const pools = await Promise.all(
    counts.flatMap((maxResources) =>
      [1, 16].map(async (slotsPerResource) => ({
        name: `${maxResources} resources, ${slotsPerResource} slot(s)`,
        slots: maxResources * slotsPerResource,
        ...(await ours({ maxResources, slotsPerResource })),
      })),
    ),
  );
  const figure = await bench.race(
    'every one touched',
    pools.map(({ name, pool, uses, slots }) => {
      const leases: Lease<Thing>[] = [];
      return {
        name,
        run: (operations: number) => {
          const before = uses();
          let n = 0;
          while (n < operations) {
            for (let i = 0; i < slots; i++) leases.push(pool.tryAcquire() as Lease<Thing>);
            assert.equal(pool.tryAcquire(), undefined);
            for (const lease of leases) {
              lease.resource.uses++;
              lease.release();
            }
            n += slots;
            leases.length = 0;
          }
          assert.equal(uses() - before, n);
        },
      };
    }),
    { operations: 800_000, rounds: 11 },
  );
  for (const slots of [1, 16]) {
    const ratio =
      figure(`10000 resources, ${slots} slot(s)`).medianNs / figure(`10 resources, ${slots} slot(s)`).medianNs;
    bench.target(`10,000 resources: times the cost of 10, ${slots} slot(s)`, ratio, '<=', 2.5);
  }
  for (const { pool } of pools) await pool.close();
}

async function million(bench: Bench): Promise<void> {
  const { pool, uses } = await ours();
  const serve = async (waiters: number): Promise<void> => {
    const before = uses();
    await Promise.all(
      Array.from({ length: waiters }, async () => {
        const lease = await pool.acquire();
        lease.resource.uses++;
        lease.release();
      }),
    );
    assert.equal(uses() - before, waiters);
  };
  const many = bench.quick ? 100_000 : 1_000_000;
  const few = bench.quick ? 50_000 : 100_000;
  const figure = await bench.race(
    'waiters at a time',
    [few, many].map((waiters) => ({
      name: `${waiters} waiters`,
      operations: many * (bench.quick ? 5 : 1),
      run: async (operations: number) => {
        for (let n = 0; n < operations; n += waiters) await serve(waiters);
      },
    })),
    { operations: many, rounds: 9 },
  );
  const ratio = figure(`${many} waiters`).medianNs / figure(`${few} waiters`).medianNs;
  bench.target(`${many} waiters: times the cost each of ${few}`, ratio, '<=', 2);
  await pool.close();
}

async function heap(bench: Bench): Promise<void> {
  const { gc } = globalThis;
  if (gc === undefined) {
    bench.note('heap not measured: run node with --expose-gc');
    return;
  }
  const { pool, uses } = await ours({ slotsPerResource: 4 });
  const cycle = (n: number): void => {
    for (let i = 0; i < n; i++) {
      const lease = pool.tryAcquire() as Lease<Thing>;
      lease.resource.uses++;
      lease.release();
    }
  };
  const settled = async (): Promise<number> => {
    await new Promise((resolve) => setImmediate(resolve));
    gc();
    gc();
    return process.memoryUsage().heapUsed;
  };
  cycle(100_000);
  const before = await settled();
  const usedBefore = uses();
  cycle(5_000_000);
  assert.equal(uses() - usedBefore, 5_000_000);
  bench.target('heap: MB more after 5,000,000 cycles', ((await settled()) - before) / 2 ** 20, '<=', 1);
  await pool.close();
}
