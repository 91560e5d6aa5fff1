import assert from 'node:assert/strict';
import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { type Lease, ResourcePool, type ResourcePoolOptions } from '../../../src/pool/index.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';
import { RUNS } from '../../support/runs.js';
import { deferred, type Thing } from './setupPool.js';

const forever = Number.POSITIVE_INFINITY;

const options = fc.record({
  maxResources: fc.integer({ min: 1, max: 3 }),
  slotsPerResource: fc.integer({ min: 1, max: 3 }),
  minResources: fc.constantFrom(0, 0, 1),
  placement: fc.constantFrom('pack' as const, 'spread' as const),
  maxConcurrentCreates: fc.constantFrom(1, 2, forever),
  maxQueue: fc.constantFrom(3, forever),
  parkAfterMs: fc.constantFrom(0, 80, forever),
  idleTimeoutMs: fc.constantFrom(0, 150, forever),
  maxLifetimeMs: fc.constantFrom(300, forever),
  leakThresholdMs: fc.constantFrom(0, 200),
  keepaliveMs: fc.constantFrom(0, 60),
  validateParked: fc.boolean(),
  createBackoff: fc.constantFrom({ initialMs: 0 }, { initialMs: 20, maxMs: 100 }),
});

const hooks = fc.record({ resets: fc.boolean() });

type Manner = 'well' | 'late' | 'reject' | 'throw' | 'hang';
const manner = fc.constantFrom<Manner>('well', 'well', 'late', 'reject', 'throw', 'hang');

const action = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('acquire' as const),
      timeoutMs: fc.constantFrom(forever, forever, 40, 0),
      abortable: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('tryAcquire' as const) }) },
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constantFrom('release' as const, 'releaseTwice' as const), which: fc.nat() }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('abort' as const), which: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('retire' as const), which: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('suspend' as const, 'resume' as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('resize' as const), to: fc.integer({ min: 1, max: 4 }) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('retireWhere' as const), parity: fc.constantFrom(0, 1) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('pass' as const), ms: fc.constantFrom(0, 10, 50, 200) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('settle' as const), which: fc.nat(), well: fc.boolean() }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constantFrom('create' as const, 'destroy' as const, 'validate' as const, 'reset' as const),
      manner,
    }),
  },
);
type Action = typeof action extends fc.Arbitrary<infer A> ? A : never;

/** A pool, and beside it what it must add up to: who asked, who holds what, what is alive. */
class World {
  readonly clock = new FakeClock();
  readonly pool: ResourcePool<Thing>;
  /** The largest `maxResources` so far: after a `resize` down what is in use lives on. */
  max: number;
  suspended = false;
  readonly slots: number;
  readonly manners: Record<'create' | 'destroy' | 'validate' | 'reset', Manner> = {
    create: 'well',
    destroy: 'well',
    validate: 'well',
    reset: 'well',
  };
  readonly held: Lease<Thing>[] = [];
  /** What a callback saw go wrong. */
  readonly broken: string[] = [];
  readonly asked: ('waiting' | 'served' | 'refused')[] = [];
  readonly aborts: AbortController[] = [];
  readonly open: ReturnType<typeof deferred<Thing>>[] = [];
  readonly made: Thing[] = [];
  readonly destroyCalls = new Map<Thing, number>();
  /** Create calls unsettled, and things whose destruction is not over. */
  seats = 0;
  worstSeats = 0;

  constructor(settings: ResourcePoolOptions & { maxResources: number; slotsPerResource: number }, resets: boolean) {
    this.max = settings.maxResources;
    this.slots = settings.slotsPerResource;
    this.pool = new ResourcePool<Thing>(
      {
        create: () => this.#create(),
        destroy: (thing) => {
          this.destroyCalls.set(thing, (this.destroyCalls.get(thing) ?? 0) + 1);
          return this.#behave(this.manners.destroy, undefined);
        },
        validate: (thing) => {
          this.#notLent(thing, 'validated');
          return this.#behave(this.manners.validate, this.manners.validate !== 'late');
        },
        ...(resets && {
          reset: (thing: Thing) => {
            this.#notLent(thing, 'reset');
            return this.#behave(this.manners.reset, undefined);
          },
        }),
      },
      {
        clock: this.clock,
        acquireTimeoutMs: forever,
        createTimeoutMs: 60,
        validateTimeoutMs: 60,
        resetTimeoutMs: 60,
        destroyTimeoutMs: 60,
        random: () => 0.5,
        ...settings,
      },
    );
    this.pool.on('destroyed', () => {
      this.seats--;
    });
  }

  #notLent(thing: Thing, what: string): void {
    if (this.held.some(({ resource }) => resource === thing)) this.broken.push(`${what} while lent`);
  }

  #create(): Thing | Promise<Thing> {
    this.seats++;
    this.worstSeats = Math.max(this.worstSeats, this.seats);
    const thing = { id: this.made.length };
    if (this.manners.create === 'throw') {
      this.seats--;
      throw new Error('create threw');
    }
    if (this.manners.create === 'reject') {
      this.seats--;
      return Promise.reject(new Error('create rejected'));
    }
    if (this.manners.create === 'well') {
      this.made.push(thing);
      return thing;
    }
    const gate = deferred<Thing>();
    this.open.push(gate);
    if (this.manners.create === 'late') this.clock.setTimer(() => this.settle(this.open.indexOf(gate), true), 30);
    return gate.promise;
  }

  settle(which: number, well: boolean): void {
    const [gate] = this.open.splice(which, which < 0 ? 0 : 1);
    if (gate === undefined) return;
    if (well) {
      const thing = { id: this.made.length };
      this.made.push(thing);
      gate.resolve(thing);
    } else {
      this.seats--;
      gate.reject(new Error('create rejected late'));
    }
  }

  #behave<T>(how: Manner, value: T): T | Promise<T> {
    if (how === 'throw') throw new Error('threw');
    if (how === 'reject') return Promise.reject(new Error('rejected'));
    if (how === 'hang') return new Promise(() => undefined);
    return how === 'late' ? new Promise((resolve) => void this.clock.setTimer(() => resolve(value), 30)) : value;
  }

  ask(timeoutMs: number, abortable: boolean): void {
    const number = this.asked.push('waiting') - 1;
    const controller = new AbortController();
    if (abortable) this.aborts.push(controller);
    const settle = (to: 'served' | 'refused'): void => {
      if (this.asked[number] !== 'waiting') this.broken.push('settled twice');
      this.asked[number] = to;
    };
    this.pool.acquire({ acquireTimeoutMs: timeoutMs, ...(abortable ? { signal: controller.signal } : {}) }).then(
      (lease) => {
        if (this.asked.slice(0, number).includes('waiting')) this.broken.push('overtaken');
        settle('served');
        this.held.push(lease);
      },
      () => settle('refused'),
    );
  }

  async pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 50) {
      vi.advanceTimersByTime(Math.min(50, left));
      await this.clock.advance(Math.min(50, left));
    }
    if (ms === 0) await this.clock.advance(0);
  }

  async do(step: Action): Promise<void> {
    const pick = <T>(from: readonly T[], which: number): T | undefined => from[which % Math.max(1, from.length)];
    if (step.do === 'acquire') this.ask(step.timeoutMs, step.abortable);
    else if (step.do === 'tryAcquire') {
      const lease = this.pool.tryAcquire();
      if (lease !== undefined) this.held.push(lease);
    } else if (step.do === 'release' || step.do === 'releaseTwice') {
      const lease = pick(this.held, step.which);
      if (lease === undefined) return;
      this.held.splice(this.held.indexOf(lease), 1);
      lease.release();
      if (step.do === 'releaseTwice') lease.release();
    } else if (step.do === 'abort') pick(this.aborts, step.which)?.abort('changed my mind');
    else if (step.do === 'retire') {
      const thing = pick(this.made, step.which);
      if (thing !== undefined) this.pool.retire(thing);
    } else if (step.do === 'suspend') {
      this.suspended = true;
      this.pool.suspend();
    } else if (step.do === 'resume') {
      this.suspended = false;
      this.pool.resume();
    } else if (step.do === 'resize') {
      this.max = Math.max(this.max, step.to);
      this.pool.resize({ maxResources: step.to, minResources: 0 });
    } else if (step.do === 'retireWhere') this.pool.retireWhere(({ id }) => id % 2 === step.parity);
    else if (step.do === 'pass') await this.pass(step.ms);
    else if (step.do === 'settle') this.settle(step.which % Math.max(1, this.open.length), step.well);
    else if ('manner' in step) this.manners[step.do] = step.manner;
  }

  check(): void {
    assert.deepEqual(this.broken, []);
    const { live, parked, creating, dying, inUse, free, slots, waiting } = this.pool.stats;
    assert(live + parked + creating + dying <= this.max, 'permits by the stats');
    assert(this.worstSeats <= this.max, 'places by the factory');
    assert.equal(inUse, this.held.length, 'leases out');
    assert(inUse + free <= slots, 'slots');
    assert.equal(waiting, this.asked.filter((state) => state === 'waiting').length);
    if (waiting > 0 && !this.suspended) assert.equal(free, 0, 'idle while a caller waits');
    const loads = new Map<Thing, number>();
    for (const { resource } of this.held) loads.set(resource, (loads.get(resource) ?? 0) + 1);
    for (const load of loads.values()) assert(load <= this.slots);
    for (const { resource } of this.held) assert.equal(this.destroyCalls.has(resource), false, 'lent and destroyed');
  }

  /** All goes well from here on: whoever waits must be served. */
  async recover(): Promise<void> {
    Object.assign(this.manners, { create: 'well', destroy: 'well', validate: 'well', reset: 'well' });
    await this.do({ do: 'resume' });
    for (let i = 0; i < 40 && (this.asked.includes('waiting') || this.held.length > 0 || this.open.length > 0); i++) {
      while (this.open.length > 0) this.settle(0, true);
      for (const lease of this.held.splice(0)) lease.release();
      await this.pass(i < 30 ? 10 : 100);
      this.check();
    }
    expect(this.asked, 'no caller forgotten').not.toContain('waiting');
  }

  async close(graceMs: number): Promise<void> {
    const closing = this.pool.close({ graceMs }).catch((error: unknown) => error);
    while (this.open.length > 0) this.settle(0, true);
    for (let i = 0; i < 6; i++) await this.pass(50);
    for (const lease of this.held.splice(0)) {
      expect(lease.revoked).toBe(true);
      lease.release();
    }
    await closing;
    expect(this.broken).toEqual([]);
    expect(this.asked, 'every acquire settled').not.toContain('waiting');
    for (const thing of this.made) expect(this.destroyCalls.get(thing), `destroyed once: ${thing.id}`).toBe(1);
    const { live, parked, creating, dying, inUse } = this.pool.stats;
    expect([live, parked, creating, dying, inUse, this.seats]).toEqual([0, 0, 0, 0, 0, 0]);
    expect(this.clock.armedTimers, 'timers on our clock').toBe(0);
    expect(vi.getTimerCount(), "timers of generic-pool's").toBe(0);
  }
}

const inFakeTime = (run: () => Promise<void>) => async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] });
  try {
    await run();
  } finally {
    vi.useRealTimers();
  }
};

test(
  'slots, places, order and every settlement hold under any order of what callers, clock and factory do',
  inFakeTime(() =>
    fc.assert(
      fc.asyncProperty(
        options,
        hooks,
        fc.array(action, { maxLength: 40 }),
        fc.boolean(),
        async (settings, { resets }, actions, well) => {
          const world = new World(settings, resets);
          for (const step of actions) {
            await world.do(step);
            await world.pass(0);
            world.check();
          }
          if (well) await world.recover();
          await world.close(well ? 0 : 100);
        },
      ),
      { numRuns: RUNS },
    ),
  ),
  600_000,
);

test(
  'with no pause between the steps, all still settle and all is destroyed',
  inFakeTime(() =>
    fc.assert(
      fc.asyncProperty(options, hooks, fc.array(action, { maxLength: 30 }), async (settings, { resets }, actions) => {
        const world = new World(settings, resets);
        for (const step of actions) if (step.do !== 'pass' || step.ms > 0) await world.do(step);
        await world.close(0);
        expect(world.worstSeats).toBeLessThanOrEqual(world.max);
      }),
      { numRuns: RUNS },
    ),
  ),
  600_000,
);

test(
  'whatever the interleaving of creations, destructions and users, no caller is forgotten and nothing is left',
  inFakeTime(() =>
    fc.assert(
      fc.asyncProperty(
        fc.scheduler(),
        fc.integer({ min: 1, max: 3 }),
        fc.integer({ min: 1, max: 2 }),
        fc.array(fc.constantFrom('hold', 'use', 'abort', 'retire'), { minLength: 1, maxLength: 8 }),
        fc.boolean(),
        async (s, maxResources, slotsPerResource, users, closeEarly) => {
          const clock = new FakeClock();
          let alive = 0;
          let worst = 0;
          const loads = new Map<Thing, number>();
          const pool = new ResourcePool<Thing>(
            {
              create: () => {
                worst = Math.max(worst, ++alive);
                return s.schedule(Promise.resolve({ id: 0 }), 'create');
              },
              destroy: async () => {
                await s.schedule(Promise.resolve(), 'destroy');
                alive--;
              },
            },
            { maxResources, slotsPerResource, clock },
          );
          const work = async (thing: Thing): Promise<void> => {
            const load = (loads.get(thing) ?? 0) + 1;
            expect(load).toBeLessThanOrEqual(slotsPerResource);
            loads.set(thing, load);
            await s.schedule(Promise.resolve(), 'work');
            loads.set(thing, (loads.get(thing) ?? 0) - 1);
          };
          const user = async (kind: string): Promise<unknown> => {
            await s.schedule(Promise.resolve(), 'start');
            if (kind === 'use') return pool.use(work);
            const controller = new AbortController();
            if (kind === 'abort') void s.schedule(Promise.resolve(), 'abort').then(() => controller.abort('abort'));
            const lease = await pool.acquire({ signal: controller.signal });
            await work(lease.resource);
            if (kind === 'retire') pool.retire(lease.resource);
            lease.release();
            return undefined;
          };
          const all = Promise.allSettled(users.map(user));
          const closing = closeEarly ? s.schedule(Promise.resolve(), 'close').then(() => pool.close()) : undefined;
          const results = await s.waitFor(all);
          for (const result of results) {
            if (result.status === 'fulfilled' || result.reason === 'abort') continue;
            expect([closeEarly, result.reason]).toMatchObject([true, { code: 'ERR_CLOSED' }]);
          }
          await s.waitFor(closing ?? pool.close());
          expect([alive, pool.stats.live, clock.armedTimers, vi.getTimerCount()]).toEqual([0, 0, 0, 0]);
          expect(worst).toBeLessThanOrEqual(maxResources);
        },
      ),
      { numRuns: RUNS },
    ),
  ),
  600_000,
);
