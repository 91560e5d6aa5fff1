import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Lease, LeaseStore } from '../../src/concurrent/cluster/LeaseStore.js';
import { PermitBlocks } from '../../src/concurrent/cluster/PermitBlocks.js';
import { LimiterCore } from '../../src/concurrent/limiter/LimiterCore.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { fullestWindow } from '../support/fleet.js';
import { RUNS } from '../support/runs.js';

const WINDOW_MS = 100;
const PERMIT_MS = 30;
const SKEW_MS = 20;

/** The store as it promises to be: never more charged than `max`, messages take their time, the silent expire. */
class ModelStore {
  readonly clock: FakeClock;
  readonly max: number;
  readonly delayMs: () => number;
  charged = 0;
  readonly #queue: { weight: number; askedMs: number; give: () => void }[] = [];

  constructor(clock: FakeClock, max: number, delayMs: () => number) {
    this.clock = clock;
    this.max = max;
    this.delayMs = delayMs;
  }

  /** One process's line to the store; nothing comes or goes over it once `alive` says no. */
  line(alive: () => boolean): LeaseStore {
    return {
      giveUp: () => undefined,
      lease: (weight, granted) => {
        this.#after(() => {
          this.#queue.push({ weight, askedMs: this.clock.now(), give: () => this.#give(weight, granted, alive) });
          this.#serve();
        });
      },
    };
  }

  #give(weight: number, granted: (lease: Lease) => void, alive: () => boolean): void {
    this.charged += weight;
    let over = false;
    const free = (): void => {
      if (over) return;
      over = true;
      this.charged -= weight;
      this.#serve();
    };
    // Another machine, whose clock is ahead, may take it for lost so much too early.
    this.clock.setTimer(free, WINDOW_MS + PERMIT_MS + SKEW_MS - this.delayMs());
    const sentMs = this.clock.now();
    this.#after(() => {
      if (alive()) granted({ sentMs, end: () => this.#after(() => alive() && free()) });
    });
  }

  #serve(): void {
    for (let i = 0; i < this.#queue.length; ) {
      const ask = this.#queue[i];
      if (ask !== undefined && this.charged + ask.weight <= this.max) {
        this.#queue.splice(i, 1);
        ask.give();
      } else i++;
    }
  }

  #after(action: () => void): void {
    this.clock.setTimer(action, this.delayMs());
  }
}

const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('acquire' as const),
      who: fc.nat(3),
      weight: fc.integer({ min: 1, max: 3 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('try' as const), who: fc.nat(3), times: fc.integer({ min: 1, max: 8 }) }),
  },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('advance' as const), ms: fc.integer({ min: 0, max: 60 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('kill' as const), who: fc.nat(3) }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('stepWall' as const), ms: fc.integer({ min: -1_000, max: 1_000 }) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('asleep' as const), ms: fc.integer({ min: 1, max: 300 }) }) },
);

test('no window of the fleet exceeds the limit: slow messages, killed processes, machines asleep, unused permits', () =>
  fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 3, max: 30 }),
      fc.integer({ min: 1, max: 3 }),
      fc.array(fc.integer({ min: 0, max: SKEW_MS }), { minLength: 1, maxLength: 20 }),
      fc.array(step, { minLength: 5, maxLength: 80 }),
      async (max, maxBlock, delays, steps) => {
        const clock = new FakeClock();
        let turn = 0;
        const store = new ModelStore(clock, max, () => delays[turn++ % delays.length] ?? 0);
        const grants: number[] = [];
        const dead = new Set<number>();
        const processes = [0, 1, 2, 3].map((who) => {
          const blocks = new PermitBlocks({
            max,
            windowUs: WINDOW_MS * 1_000,
            permitLifeUs: PERMIT_MS * 1_000,
            maxBlock,
            store: store.line(() => !dead.has(who)),
            storeTimeoutMs: 5_000,
            clock,
          });
          // Stamps every permit as it is handed out, be it to a caller or to a waiter.
          const source = Object.create(blocks, {
            take: {
              value: (nowUs: number, weight: number) => {
                const taken = blocks.take(nowUs, weight);
                if (taken) for (let i = 0; i < weight; i++) grants.push(nowUs);
                return taken;
              },
            },
            max: { value: max },
            emptyAtUs: { get: () => blocks.emptyAtUs },
            fitsAtUs: { value: blocks.fitsAtUs.bind(blocks) },
            count: { value: blocks.count.bind(blocks) },
            clear: { value: blocks.clear.bind(blocks) },
          }) as PermitBlocks;
          const core = new LimiterCore({
            name: `${who}`,
            source,
            clock,
            maxQueue: 100,
            acquireTimeoutMs: Infinity,
            maxPauseMs: Infinity,
          });
          blocks.attach(core);
          blocks.resume(core.nowUs(), undefined);
          return { blocks, core };
        });
        const kill = (who: number): void => {
          dead.add(who);
          processes[who]?.blocks.close();
          processes[who]?.core.refuse();
        };
        for (const each of steps) {
          if (each.do === 'advance') await clock.advance(each.ms);
          else if (each.do === 'stepWall') clock.stepWall(each.ms);
          else if (each.do === 'asleep') clock.suspend(each.ms);
          else if (each.do === 'kill') kill(each.who);
          else if (!dead.has(each.who)) {
            const core = processes[each.who]?.core;
            if (each.do === 'try') for (let i = 0; i < each.times; i++) core?.tryAcquire(1);
            else core?.acquire({ weight: Math.min(each.weight, max) }).catch(() => undefined);
          }
        }
        // Whoever lives is served in the end: no permit is lost for ever.
        await clock.advance(20_000);
        expect(processes.map(({ core }, who) => (dead.has(who) ? 0 : core.waiting.size))).toEqual([0, 0, 0, 0]);
        expect(store.charged).toBe(0);
        expect(
          fullestWindow(
            grants.sort((a, b) => a - b),
            WINDOW_MS * 1_000,
          ),
        ).toBeLessThanOrEqual(max);
        for (let who = 0; who < 4; who++) kill(who);
        await clock.advance(1_000);
        expect(clock.armedTimers).toBe(0);
      },
    ),
    { numRuns: Math.ceil(RUNS / 2) },
  ));
