import assert from 'node:assert/strict';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { KeyedPool, type Lease } from '../../../src/pool/index.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';
import { RUNS, RUNS_TIMEOUT_MS } from '../../support/runs.js';

interface Item {
  readonly key: string;
}

const KEYS = ['a', 'b', 'c', 'd'];
const key = fc.constantFrom(...KEYS);
const options = fc.record({
  maxResources: fc.integer({ min: 1, max: 3 }),
  maxPerKey: fc.constantFrom(1, 2, Number.POSITIVE_INFINITY),
  slotsPerResource: fc.constantFrom(1, 1, 2),
  maxHoldMs: fc.constantFrom(0, 100),
  parkAfterMs: fc.constantFrom(50, 5_000),
  idleTimeoutMs: fc.constantFrom(0, 100),
});
const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constant('acquire' as const), key, timeoutMs: fc.constantFrom(40, 1e6) }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('release' as const), which: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('abort' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('retire' as const), key }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('fail' as const), fails: fc.boolean() }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.constantFrom(0, 20, 120) }) },
);

test(
  'never more than the bounds, no waiter of any key forgotten, and no key or timer left',
  async () => {
    await fc.assert(
      fc.asyncProperty(options, fc.array(step, { maxLength: 40, size: 'max' }), async (settings, steps) => {
        const clock = new FakeClock();
        const alive = new Set<Item>();
        const held: Lease<Item>[] = [];
        const waiting = new Map<number, string>();
        const broken: string[] = [];
        let fails = false;
        let controller = new AbortController();
        const pool = new KeyedPool<string, Item>(
          {
            create: async ({ key }) => {
              if (fails) throw new Error('refused');
              const item = { key };
              alive.add(item);
              if (alive.size > settings.maxResources) broken.push('too many alive');
              if ([...alive].filter((each) => each.key === key).length > settings.maxPerKey)
                broken.push('too many of a key');
              return item;
            },
            destroy: async (item) => {
              if (held.some(({ resource }) => resource === item)) broken.push('destroyed while lent');
              await Promise.resolve();
              if (!alive.delete(item)) broken.push('destroyed twice');
            },
          },
          { clock, random: () => 0, createBackoff: { initialMs: 10, maxMs: 20 }, ...settings },
        );
        let asked = 0;
        const ask = (of: string, acquireTimeoutMs: number): void => {
          const number = asked++;
          waiting.set(number, of);
          pool.acquire(of, { acquireTimeoutMs, signal: controller.signal }).then(
            (lease) => {
              waiting.delete(number);
              if (lease.resource.key !== of) broken.push('a resource of another key');
              held.push(lease);
            },
            () => waiting.delete(number),
          );
        };
        for (const each of steps) {
          if (each.do === 'acquire') ask(each.key, each.timeoutMs);
          else if (each.do === 'release') held.splice(each.which % Math.max(1, held.length), 1)[0]?.release();
          else if (each.do === 'abort') {
            controller.abort();
            controller = new AbortController();
          } else if (each.do === 'retire') pool.retireWhere((_item, info) => info.key === each.key);
          else if (each.do === 'fail') fails = each.fails;
          else await clock.advance(each.ms);
          assert.deepEqual(broken, []);
          assert(pool.stats.resources <= settings.maxResources);
          assert(pool.stats.inUse >= held.length);
        }
        fails = false;
        // From here each lease is given back soon: every caller must be served.
        for (let i = 0; i < 400 && (waiting.size > 0 || held.length > 0); i++) {
          for (const lease of held.splice(0)) lease.release();
          await clock.advance(20);
        }
        expect([...waiting.values()], 'forgotten').toEqual([]);
        await clock.advance(8_000);
        expect(broken).toEqual([]);
        expect(pool.stats).toMatchObject({ keys: 0, resources: 0, inUse: 0, waiting: 0, starving: 0, evicting: 0 });
        expect([alive.size, clock.armedTimers]).toEqual([0, 0]);
        ask('a', 1e6);
        await clock.advance(20);
        ask('b', 1e6);
        const closing = pool.close({ graceMs: 50 });
        await clock.advance(200);
        await closing;
        expect([waiting.size, alive.size, clock.armedTimers]).toEqual([0, 0, 0]);
      }),
      { numRuns: RUNS },
    );
  },
  RUNS_TIMEOUT_MS,
);

test(
  'however many callers the others have, a key is served after each of them had one turn',
  async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 3 }),
        fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 2, maxLength: 5 }),
        async (maxResources, crowds) => {
          const clock = new FakeClock();
          const pool = new KeyedPool<number, { key: number }>(
            { create: ({ key }) => ({ key }), destroy: () => undefined },
            { clock, maxResources, maxHoldMs: 0 },
          );
          const order: number[] = [];
          const all = crowds.flatMap((size, key) =>
            Array.from({ length: size }, async () => {
              const lease = await pool.acquire(key);
              order.push(key);
              await new Promise((resolve) => void clock.setTimer(() => resolve(undefined), 20));
              lease.release();
            }),
          );
          for (let i = 0; i < 400 && order.length < all.length; i++) await clock.advance(20);
          await clock.advance(20);
          await Promise.all(all);
          // A round lasts a lease and the recheck after it: until the last key's first lease no key had more than three.
          const firsts = crowds.map((_, key) => order.indexOf(key));
          const until = order.slice(0, Math.max(...firsts));
          for (const key of crowds.keys()) {
            expect(until.filter((each) => each === key).length).toBeLessThanOrEqual(3 * maxResources);
          }
          await pool.close();
        },
      ),
      { numRuns: Math.ceil(RUNS / 10) },
    );
  },
  RUNS_TIMEOUT_MS,
);
