import fc from 'fast-check';
import { expect, test } from 'vitest';
import { bestFixed, SERVERS, simulate } from '../../../bench/adaptive/simulation.js';
import { type AdaptiveRules, type AdaptiveState, next } from '../../../src/concurrent/balance/adaptiveState.js';
import { AdaptiveLimit } from '../../../src/concurrent/index.js';
import { OptionError } from '../../../src/errors.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';
import { WHOLE } from '../../support/runs.js';

const SEEDS = WHOLE ? [1, 2, 3, 4, 5] : [1, 2, 3];

for (const server of SERVERS) {
  test(`finds within 20 % of the best fixed limit: ${server.name}`, () => {
    const best = bestFixed(server, 1);
    for (const seed of SEEDS) {
      const { stretches } = simulate(server, {}, seed);
      for (const [index, { meanLimit }] of stretches.entries()) {
        expect(meanLimit / (best[index] ?? 0), `seed ${seed}, stretch ${index}`).toBeGreaterThan(0.8);
        expect(meanLimit / (best[index] ?? 0), `seed ${seed}, stretch ${index}`).toBeLessThan(1.2);
      }
    }
  });
}

const RULES: AdaptiveRules = {
  algorithm: 'gradient',
  minLimit: 2,
  maxLimit: 100,
  headroomRatio: 0.1,
  backoffRatio: 0.9,
  probeEvery: 5,
  probeRatio: 0.5,
};
const at = (over: Partial<AdaptiveState>): AdaptiveState => ({
  limit: 40,
  baseMs: 10,
  age: 0,
  cut: undefined,
  probing: false,
  ...over,
});
const full = { meanMs: 10, peakInFlight: 40, drops: 0 };

test.each<[string, AdaptiveState, typeof full, Partial<AdaptiveRules>, Partial<AdaptiveState>]>([
  ['no queue: it grows by its headroom', at({}), full, {}, { limit: 44, age: 1 }],
  ['calls are slower: it shrinks as they are slower', at({}), { ...full, meanMs: 12.5 }, {}, { limit: 36 }],
  ['never by more than half', at({}), { ...full, meanMs: 500 }, {}, { limit: 24, cut: { limit: 40, meanMs: 500 } }],
  ['unused: it does not grow', at({}), { ...full, peakInFlight: 19 }, {}, { limit: 40 }],
  ['a drop: it backs off', at({}), { ...full, drops: 1 }, {}, { limit: 36 }],
  ['at the first window it looks for the base', at({ baseMs: Infinity }), full, {}, { limit: 20, probing: true }],
  ['and from time to time', at({ age: 4 }), full, {}, { limit: 20, probing: true, cut: { limit: 40, meanMs: 10 } }],
  [
    'a cut that helps is followed by the next',
    at({ limit: 20, probing: true, cut: { limit: 40, meanMs: 20 } }),
    { ...full, meanMs: 11 },
    {},
    { limit: 10, probing: true, cut: { limit: 20, meanMs: 11 } },
  ],
  [
    'one that does not help has found the base, also a higher one',
    at({ limit: 20, cut: { limit: 40, meanMs: 30 } }),
    { ...full, meanMs: 30 },
    {},
    { limit: 40, baseMs: 30, probing: false, cut: undefined },
  ],
  ['aimd: one more', at({}), full, { algorithm: 'aimd' }, { limit: 41 }],
  ['aimd: a drop', at({}), { ...full, drops: 3 }, { algorithm: 'aimd' }, { limit: 36 }],
  ['aimd: unused', at({}), { ...full, peakInFlight: 3 }, { algorithm: 'aimd' }, { limit: 40 }],
])('%s', (_, state, sample, rules, wanted) => {
  expect(next(Object.freeze(state), sample, { ...RULES, ...rules })).toMatchObject(wanted);
});

test('drops of one caller, while others’ calls are answered, do not shrink it; those of several, or of all there are, do', () => {
  const run = (calls: (limit: AdaptiveLimit) => void): number => {
    const limit = new AdaptiveLimit({ algorithm: 'aimd', windowCalls: 10, initialLimit: 5, clock: new FakeClock() });
    calls(limit);
    return limit.limit;
  };
  const ticket = (limit: AdaptiveLimit) => limit.tryAcquire() ?? expect.fail();
  const drop = (limit: AdaptiveLimit, caller?: string) => limit.dropped(ticket(limit), caller);
  const answer = (limit: AdaptiveLimit, caller?: string) => limit.succeeded(ticket(limit), caller);
  const times = (count: number, each: () => void): void => void Array.from({ length: count }, each);
  expect(run((limit) => times(10, () => [drop(limit, 'eve'), answer(limit, 'alice')]))).toBe(5);
  expect(run((limit) => times(10, () => [answer(limit, 'eve'), answer(limit, 'alice'), drop(limit, 'eve')]))).toBe(5);
  expect(run((limit) => times(10, () => [answer(limit, 'alice'), drop(limit, 'eve'), drop(limit, 'mallory')]))).toBe(3);
  expect(run((limit) => times(5, () => [answer(limit, 'eve'), drop(limit, 'eve')]))).toBe(4);
  expect(run((limit) => times(5, () => [answer(limit), drop(limit)]))).toBe(4);
});

test('as many owners as the limit, and two at least, have a call let in, beyond the limit too, and none a second one', () => {
  const run = (initialLimit: number, owners: readonly string[]): string[] => {
    const limit = new AdaptiveLimit({ initialLimit, clock: new FakeClock() });
    const held = owners.map((owner) => [owner, limit.tryAcquire(owner)] as const);
    const refused = held.filter(([, ticket]) => ticket === undefined).map(([owner]) => owner);
    expect(limit.inspect()).toMatchObject({ inFlight: owners.length - refused.length, refused: refused.length });
    expect(limit.tryAcquire()).toBeUndefined();
    for (const [, ticket] of held) if (ticket !== undefined) for (let i = 0; i < 2; i++) limit.ignored(ticket);
    expect(limit.inFlight).toBe(0);
    expect(limit.tryAcquire(owners[0])).toBeDefined();
    return refused;
  };
  expect(run(3, ['eve', 'eve', 'eve', 'eve', 'bob', 'bob', 'ann', 'joe', 'eve'])).toEqual(['eve', 'bob', 'joe', 'eve']);
  expect(run(1, ['eve', 'eve', 'bob', 'ann'])).toEqual(['eve', 'ann']);
  const many = Array.from({ length: 200 }, (_, i) => `${i}`);
  expect(run(100, [...many, ...many])).toEqual([...many.slice(100), ...many]);
});

test('the limit stays within its bounds, and calls in flight within the limit they found, whatever happens', async () => {
  const steps = fc.array(
    fc.record({ what: fc.constantFrom('in', 'in', 'good', 'drop', 'ignore'), ms: fc.integer({ min: 0, max: 50 }) }),
    { maxLength: 400, size: 'max' },
  );
  await fc.assert(
    fc.asyncProperty(steps, fc.constantFrom('gradient', 'aimd'), async (run, algorithm) => {
      const clock = new FakeClock();
      const changes: number[] = [];
      const limit = new AdaptiveLimit({
        algorithm: algorithm as 'aimd',
        minLimit: 2,
        maxLimit: 12,
        windowCalls: 5,
        windowMs: 100,
        clock,
        onChange: (now) => changes.push(now),
      });
      const out: ReturnType<AdaptiveLimit['tryAcquire']>[] = [];
      for (const { what, ms } of run) {
        if (ms > 25) await clock.advance(ms - 25);
        if (what === 'in') {
          const free = limit.inFlight < limit.limit;
          const ticket = limit.tryAcquire();
          if ((ticket !== undefined) !== free) expect.fail(free ? 'refused with room' : 'let in beyond the limit');
          if (ticket !== undefined) out.push(ticket);
        } else {
          const ticket = out.shift();
          if (ticket === undefined) continue;
          if (what === 'good') limit.succeeded(ticket);
          else if (what === 'drop') limit.dropped(ticket);
          else limit.ignored(ticket);
        }
        // One comparison a step: there are 80,000 of them.
        if (limit.inFlight !== out.length || !(limit.limit >= 2 && limit.limit <= 12))
          expect.fail(`${limit.inFlight} in flight, of ${out.length}; the limit is ${limit.limit}`);
      }
      if (changes.length > 0) expect(changes.at(-1)).toBe(limit.limit);
    }),
    { numRuns: 200 },
  );
});

test.each([
  [{ minLimit: 0 }, 'minLimit'],
  [{ minLimit: 5, maxLimit: 4 }, 'maxLimit'],
  [{ initialLimit: 2_000 }, 'initialLimit'],
  [{ headroomRatio: 0 }, 'headroomRatio'],
  [{ algorithm: 'vegas' as never }, 'algorithm'],
  [{ probeEvery: 1 }, 'probeEvery'],
])('refuses %j', (options, name) => {
  expect(() => new AdaptiveLimit(options)).toThrow(OptionError);
  expect(() => new AdaptiveLimit(options)).toThrow(name);
});
