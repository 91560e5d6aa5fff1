import { mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { FileCache } from '../../src/toolstore/FileCache.js';
import { RUNS } from '../support/runs.js';
import { CacheHouse, tools } from './fixtureCache.js';

const KEYS = ['a', 'a/b', 'a_b'] as const;
const SCOPES = [undefined, 'her', 'him'] as const;

const key = fc.constantFrom(...KEYS);
const scope = fc.constantFrom(...SCOPES);
const ttlMs = fc.constantFrom(0, 100, 1_000, Number.POSITIVE_INFINITY);
const staleMs = fc.constantFrom(0, 100, 1_000);
const who = fc.integer({ min: 0, max: 1 });

const everyday = [
  fc.record({ op: fc.constant('set' as const), who, key, ttlMs, staleMs }),
  fc.record({ op: fc.constant('get' as const), who, key }),
  fc.record({ op: fc.constant('lookup' as const), who, key }),
  fc.record({ op: fc.constant('delete' as const), who, key }),
  fc.record({ op: fc.constant('load' as const), who, key, ttlMs, staleMs, fails: fc.boolean() }),
  fc.record({ op: fc.constant('setTools' as const), who, scope, ttlMs: fc.option(ttlMs), shared: fc.boolean() }),
  fc.record({ op: fc.constant('getTools' as const), who, scope }),
  fc.record({ op: fc.constant('invalidate' as const), who, scope, keepAsFallback: fc.boolean() }),
  fc.record({ op: fc.constant('advance' as const), ms: fc.constantFrom(1, 50, 100, 500, 1_000) }),
  fc.record({ op: fc.constant('restart' as const), who }),
] as const;

const calamities = [
  fc.record({ op: fc.constant('stepWall' as const), ms: fc.constantFrom(-100_000, -1_000, -50, 50, 1_000, 100_000) }),
  fc.record({
    op: fc.constant('damage' as const),
    how: fc.constantFrom('truncate', 'flip', 'delete', 'directory', 'garbage', 'swap', 'folder'),
    file: fc.nat(10),
    at: fc.double({ min: 0, max: 1, noNaN: true }),
  }),
] as const;

type Step = (typeof everyday | typeof calamities)[number] extends fc.Arbitrary<infer S> ? S : never;

/** A value as the model knows it: when it was set, and how long it may live. */
interface Known {
  readonly value: number;
  readonly setMs: number;
  readonly ttlMs: number;
  readonly staleMs: number;
  readonly outdated?: boolean;
}

/** Two processes on one directory, that look at the disk on each call, beside a plain map. */
class World {
  readonly house: CacheHouse;
  readonly json = new Map<string, Known>();
  readonly tools = new Map<string, Known>();
  readonly caches: FileCache[];
  /** How much too young a file may look for the wall clock having been set back since. */
  slackMs = 0;
  /** Misses are excused from the first calamity on. */
  harmed = false;
  #next = 1;

  constructor(directory: string) {
    this.house = new CacheHouse(directory);
    this.caches = [this.#open(), this.#open()];
  }

  #open(): FileCache {
    return this.house.openLoose({ recheckMs: 0, staleMs: 1_000, defaultTtlMs: 100, maxEntries: 4 });
  }

  async close(): Promise<void> {
    for (const cache of this.caches) await cache.close();
    expect(this.house.clock.armedTimers).toBe(0);
    if (!this.harmed) expect(this.house.logged.filter((line) => !line.includes('loaded anew'))).toEqual([]);
  }

  #cache(who: number): FileCache {
    const cache = this.caches[who];
    if (cache === undefined) throw new Error(`nobody is ${who}`);
    return cache;
  }

  #know(into: Map<string, Known>, at: string, lives: { ttlMs: number; staleMs: number }): number {
    const value = this.#next++;
    into.set(at, { value, setMs: this.house.clock.now(), ...lives });
    return value;
  }

  /** What may come out: the newest value within its life; nothing else, and nothing only when there is an excuse. */
  #check(known: readonly (Known | undefined)[], got: number | undefined, staleToo: boolean): void {
    const nowMs = this.house.clock.now();
    const lives = (each: Known, slackMs: number): boolean =>
      (staleToo || each.outdated !== true) && nowMs - each.setMs - slackMs < each.ttlMs + (staleToo ? each.staleMs : 0);
    const possible = known.filter((each) => each !== undefined);
    if (got === undefined) {
      if (!this.harmed) expect(possible.filter((each) => lives(each, 0))).toEqual([]);
      return;
    }
    const allowed = possible.filter((each) => lives(each, this.slackMs)).map(({ value }) => value);
    expect(allowed).toContain(got);
  }

  async step(step: Step): Promise<void> {
    const { house, json } = this;
    switch (step.op) {
      case 'set': {
        const value = this.#know(json, step.key, step);
        return this.#cache(step.who).set(step.key, value, step);
      }
      case 'get':
        return this.#check([json.get(step.key)], await this.#cache(step.who).get(step.key), false);
      case 'lookup': {
        const cached = await this.#cache(step.who).lookup<number>(step.key);
        this.#check([json.get(step.key)], cached?.value, true);
        if (cached?.stale === false) this.#check([json.get(step.key)], cached.value, false);
        return;
      }
      case 'delete':
        json.delete(step.key);
        return this.#cache(step.who).delete(step.key);
      case 'load': {
        const before = json.get(step.key);
        let loaded: number | undefined;
        const got = await this.#cache(step.who)
          .getOrLoad(
            step.key,
            () => {
              if (step.fails) throw new Error('down');
              loaded = this.#know(json, step.key, step);
              return loaded;
            },
            step,
          )
          .catch((error: Error) => error.message);
        await this.settle(step.who);
        if (got === 'down') this.#check([before], undefined, true);
        else if (got !== loaded) this.#check([before], got as number, true);
        return;
      }
      case 'setTools': {
        const at = step.shared ? 'shared' : (step.scope ?? 'nobody');
        const lives = { ttlMs: Math.min(step.ttlMs ?? 100, 86_400_000), staleMs: 1_000 };
        if (step.shared && step.scope !== undefined) this.tools.delete(step.scope);
        if (at === 'shared') this.tools.delete('nobody');
        if (at === 'nobody') this.tools.delete('shared');
        const value = this.#know(this.tools, at, lives);
        return this.#cache(step.who).setTools('s', tools(String(value)), step.scope, {
          ...(step.ttlMs === null ? {} : { ttlMs: step.ttlMs }),
          ...(step.shared ? { cacheScope: 'public' as const } : {}),
        });
      }
      case 'getTools': {
        const cached = await this.#cache(step.who).lookupTools('s', step.scope);
        const known = [this.tools.get(step.scope ?? 'nobody'), this.tools.get('shared')];
        const got = cached && Number(cached.tools[0]?.name);
        this.#check(known, got, true);
        if (cached?.stale === false) this.#check(known, got, false);
        return;
      }
      case 'invalidate': {
        const hit = step.scope === undefined ? [...this.tools.keys()] : [step.scope, 'shared'];
        for (const at of hit) {
          const known = this.tools.get(at);
          if (known !== undefined && step.keepAsFallback) this.tools.set(at, { ...known, outdated: true });
          else this.tools.delete(at);
        }
        return this.#cache(step.who).invalidate('s', step.scope, step);
      }
      case 'advance':
        return house.clock.advance(step.ms);
      case 'restart':
        await this.#cache(step.who).close();
        this.caches[step.who] = this.#open();
        return;
      case 'stepWall':
        this.harmed = true;
        this.slackMs += Math.max(0, -step.ms) + (step.ms < 0 ? 1_000 : 0);
        house.clock.stepWall(step.ms);
        return;
      case 'damage':
        this.harmed = true;
        return this.#damage(step);
    }
  }

  /** A background load has landed and is on disk. */
  async settle(who: number): Promise<void> {
    const cache = this.#cache(who);
    while (cache.stats.loading > 0 || cache.stats.unsaved > 0) await new Promise((resolve) => setImmediate(resolve));
  }

  #damage({ how, file, at }: { how: string; file: number; at: number }): void {
    const files = this.house.files();
    const path = files[file % Math.max(1, files.length)];
    if (path === undefined) return;
    if (['folder', 'delete', 'directory'].includes(how)) {
      rmSync(how === 'folder' ? this.house.folder : path, { recursive: true });
      if (how === 'directory') mkdirSync(path);
      return;
    }
    const other = files.find((each) => each !== path) ?? path;
    let bytes: Buffer;
    let swapped: string;
    try {
      bytes = readFileSync(path);
      swapped = readFileSync(other, 'latin1');
    } catch (error) {
      // A directory put there before.
      if ((error as NodeJS.ErrnoException).code === 'EISDIR') return;
      throw error;
    }
    const offset = Math.floor(at * Math.max(0, bytes.length - 1));
    if (how === 'truncate') truncateSync(path, offset);
    else if (how === 'garbage') writeFileSync(path, 'garbage');
    else if (how === 'swap') writeFileSync(path, swapped);
    else {
      bytes[offset] = (bytes[offset] ?? 0) ^ 1;
      writeFileSync(path, bytes);
    }
  }
}

function holds(name: string, steps: fc.Arbitrary<Step>, runs: number): void {
  test(name, { timeout: Math.max(120_000, RUNS * 60) }, async () => {
    const house = new CacheHouse();
    let round = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(steps, { maxLength: 24 }), async (all) => {
        const directory = join(house.directory, String(round++));
        mkdirSync(directory);
        const world = new World(directory);
        try {
          for (const each of all) await world.step(each);
        } finally {
          await world.close();
          rmSync(directory, { recursive: true, force: true });
        }
      }),
      { numRuns: runs },
    );
  });
}

holds(
  'two processes and any number of restarts on one directory agree with a plain map, hits and misses',
  fc.oneof(...everyday),
  Math.ceil(RUNS / 2),
);

holds(
  'whatever happens to files and clocks, what comes out is the newest value of its key, within its life',
  fc.oneof(...everyday, ...everyday, ...calamities, ...calamities, ...calamities),
  RUNS,
);

test('changes that overlap end with the last one, in memory and on disk, and no get sees an older state', {
  timeout: 120_000,
}, async () => {
  const house = new CacheHouse();
  const step = fc.record({
    op: fc.constantFrom('set' as const, 'set' as const, 'delete' as const, 'get' as const, 'load' as const),
    key,
    turns: fc.integer({ min: 0, max: 3 }),
  });
  const recheckMs = fc.constantFrom(0, 1_000);
  let round = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 30 }),
      fc.constantFrom(1, 9),
      recheckMs,
      async (steps, max, recheck) => {
        const directory = join(house.directory, String(round++));
        const before = house.openLoose({ directory });
        await Promise.all(KEYS.map((each) => before.set(each, -1)));
        await before.close();
        const cache = house.openLoose({ directory, recheckMs: recheck, maxEntries: max });
        const states = new Map<string, (number | undefined)[]>(KEYS.map((each) => [each, [-1]]));
        const going: Promise<unknown>[] = [];
        for (const [at, each] of steps.entries()) {
          const history = states.get(each.key) ?? [];
          if (each.op === 'set') {
            history.push(at);
            going.push(cache.set(each.key, at));
          } else if (each.op === 'delete') {
            history.push(undefined);
            going.push(cache.delete(each.key));
          } else {
            const from = history.length - 1;
            const got =
              each.op === 'get' ? cache.get(each.key) : cache.getOrLoad(each.key, ({ hint }) => hint({ store: false }));
            going.push(got.then((value) => expect(history.slice(from)).toContain(value)));
          }
          for (let i = 0; i < each.turns; i++) await new Promise((resolve) => setImmediate(resolve));
        }
        await Promise.all(going);
        const after = house.openLoose({ directory });
        for (const [each, history] of states) {
          expect(await cache.get(each)).toBe(history.at(-1));
          expect(await after.get(each)).toBe(history.at(-1));
        }
        await Promise.all([cache.close(), after.close()]);
        rmSync(directory, { recursive: true, force: true });
      },
    ),
    { numRuns: Math.ceil(RUNS / 2) },
  );
});
