import assert from 'node:assert/strict';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { seeded } from '../../../bench/adaptive/simulation.js';
import { Balancer, type BalancerOptions, type BalancerPick, OutlierDetector } from '../../../src/concurrent/index.js';
import { OptionError } from '../../../src/errors.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';

const named = (...ids: readonly string[]) => ids.map((id) => ({ id, target: id.toUpperCase() }));

function counts(balancer: Balancer<string>, calls: number, keys?: (i: number) => string): Record<string, number> {
  const result: Record<string, number> = {};
  for (let i = 0; i < calls; i++) {
    const pick = balancer.pick({ key: keys?.(i) });
    if (pick === undefined) throw new Error('no target');
    result[pick.id] = (result[pick.id] ?? 0) + 1;
    pick.succeeded();
  }
  return result;
}

test('round robin gives each its weight in every full turn, spread out', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 6 }), (weights) => {
      const targets = weights.map((weight, i) => ({ id: `${i}`, target: '', weight }));
      const balancer = new Balancer({ targets, policy: 'round-robin' });
      const turn = weights.reduce((sum, each) => sum + each, 0);
      for (let i = 0; i < 3; i++) {
        expect(counts(balancer, turn)).toEqual(Object.fromEntries(weights.map((weight, at) => [`${at}`, weight])));
      }
    }),
  );
  const smooth = new Balancer({
    targets: [{ id: 'a', target: 1, weight: 5 }, ...named('b', 'c').map((each) => ({ ...each, target: 1 }))],
    policy: 'round-robin',
  });
  expect(Array.from({ length: 7 }, () => smooth.pick()?.id).join('')).toBe('aabacaa');
});

test('least-loaded takes one with the fewest calls in flight by weight, always, and loads are conserved', () => {
  const step = fc.oneof(
    fc.constant({ do: 'pick' } as const),
    fc.record({ do: fc.constant('end' as const), which: fc.nat() }),
    fc.record({ do: fc.constant('update' as const), ids: fc.subarray(['a', 'b', 'c', 'd'], { minLength: 1 }) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100, size: 'max' }), fc.integer(), (steps, seed) => {
      const weight = { a: 1, b: 2, c: 1, d: 4 } as Record<string, number>;
      const of = (ids: readonly string[]) => ids.map((id) => ({ id, target: id, weight: weight[id] }));
      const balancer = new Balancer({ targets: of(['a', 'b', 'c']), policy: 'least-loaded', random: seeded(seed) });
      let there = ['a', 'b', 'c'];
      let load: Record<string, number> = { a: 0, b: 0, c: 0 };
      let out: { readonly pick: BalancerPick<string>; readonly load: Record<string, number> }[] = [];
      for (const each of steps) {
        if (each.do === 'update') {
          balancer.update(of(each.ids));
          const before = load;
          load = Object.fromEntries(each.ids.map((id) => [id, there.includes(id) ? (before[id] ?? 0) : 0]));
          // What was picked before its target went and came again belongs to the one that is gone.
          out = out.filter(({ pick }) => each.ids.includes(pick.id));
          there = each.ids;
        } else if (each.do === 'pick') {
          const pick = balancer.pick() as BalancerPick<string>;
          const cost = (id: string): number => ((load[id] ?? 0) + 1) / (weight[id] ?? 1);
          assert.equal(cost(pick.id), Math.min(...there.map(cost)));
          load[pick.id] = (load[pick.id] ?? 0) + 1;
          out.push({ pick, load });
        } else if (out.length > 0) {
          const [{ pick }] = out.splice(each.which % out.length, 1) as [(typeof out)[number]];
          pick.succeeded();
          pick.failed();
          load[pick.id] = (load[pick.id] ?? 0) - 1;
        }
        assert.deepEqual(Object.fromEntries(balancer.inspect().map(({ id, inFlight }) => [id, inFlight])), load);
      }
    }),
    { numRuns: 200 },
  );
});

test.each(['rendezvous', 'consistent'] as const)(
  'hash by %s: keys stay, and a target that goes moves only its own',
  (hashing) => {
    const ids = ['a', 'b', 'c', 'd', 'e'];
    const targets = ids.map((id) => ({ id, target: id, weight: id === 'a' ? 2 : 1 }));
    const balancer = new Balancer({ targets, policy: 'hash', hashing });
    const keys = Array.from({ length: 6_000 }, (_, i) => `user-${i}`);
    const owner = (key: string): string => {
      const pick = balancer.pick({ key });
      pick?.abandoned();
      return pick?.id ?? '';
    };
    const before = new Map(keys.map((key) => [key, owner(key)]));
    for (const key of keys) assert.equal(owner(key), before.get(key));
    const share = (id: string): number => keys.filter((key) => before.get(key) === id).length / keys.length;
    for (const id of ids) assert(share(id) / (id === 'a' ? 2 / 6 : 1 / 6) > 0.7, id);
    for (const id of ids) assert(share(id) / (id === 'a' ? 2 / 6 : 1 / 6) < 1.3, id);
    // The same keys go elsewhere when it is excluded for one call, gone or sick.
    const without = keys.map((key) => balancer.pick({ key, exclude: (id) => id === 'c' })?.id);
    balancer.update(targets.filter(({ id }) => id !== 'c'));
    for (const [i, key] of keys.entries()) {
      if (before.get(key) === 'c') expect(owner(key)).not.toBe('c');
      else assert.equal(owner(key), before.get(key));
      assert.equal(owner(key), without[i]);
    }
  },
);

test('p2c-ewma gives one that is ten times slower a tenth of what the others get, or less', async () => {
  const clock = new FakeClock();
  const balancer = new Balancer({ targets: named('a', 'b', 'c', 'slow'), random: seeded(7), clock });
  const ends: { readonly atMs: number; readonly pick: BalancerPick<string> }[] = [];
  for (let i = 0; i < 4_000; i++) {
    const pick = balancer.pick() as BalancerPick<string>;
    ends.push({ atMs: clock.now() + (pick.id === 'slow' ? 100 : 10), pick });
    await clock.advance(1);
    for (let at = ends.length - 1; at >= 0; at--) {
      if ((ends[at]?.atMs ?? 0) <= clock.now()) ends.splice(at, 1)[0]?.pick.succeeded();
    }
  }
  const picked = Object.fromEntries(balancer.inspect().map((each) => [each.id, each.picked]));
  expect(picked['slow']).toBeLessThan((picked['a'] ?? 0) / 8);
  // It is asked now and then, so that it can show that it is well again.
  expect(picked['slow']).toBeGreaterThan(1);
});

test('quick errors draw no calls, and those of one caller make no target look slower', async () => {
  const clock = new FakeClock();
  const balancer = new Balancer({ targets: named('a', 'b'), clock });
  const end = async (id: string, ms: number, how: 'succeeded' | 'rejected', caller?: string): Promise<number> => {
    const pick = balancer.pick({ exclude: (each) => each !== id });
    await clock.advance(ms);
    pick?.[how](caller);
    return Math.round(balancer.inspect().find((each) => each.id === id)?.ewmaMs ?? 0);
  };
  // Of one that is not known it is taken for as slow as the others.
  expect(await end('b', 100, 'succeeded')).toBe(100);
  expect(await end('a', 1, 'rejected', 'eve')).toBe(100);
  await end('a', 20_000, 'rejected', 'eve');
  expect(await end('b', 1, 'rejected', 'eve')).toBe(100);
  expect(await end('b', 1, 'rejected', 'eve')).toBe(100);
  await end('b', 100, 'succeeded', 'bob');
  expect(await end('b', 1, 'rejected', 'alice')).toBe(100);
  // Several in a row: it may have nothing else for anyone.
  expect(await end('b', 1, 'rejected', 'eve')).toBe(20_000);
});

test('failover takes the first that is healthy, in order', async () => {
  const clock = new FakeClock();
  const outliers = new OutlierDetector({ clock, consecutiveFailures: 1, ejectionMs: 1_000, slowStartMs: 0 });
  const balancer = new Balancer({ targets: named('a', 'b', 'c'), policy: 'failover', outliers, clock });
  expect(balancer.pick()?.target).toBe('A');
  balancer.pick()?.failed();
  expect(balancer.pick()?.id).toBe('b');
  await clock.advance(1_000);
  expect(balancer.pick()?.id).toBe('a');
});

test('a zone of its own goes first, while anything in it is healthy', () => {
  const targets = [
    { id: 'far', target: '', zone: 'x' },
    { id: 'near', target: '', zone: 'y' },
  ];
  for (const policy of ['least-loaded', 'p2c-ewma', 'round-robin', 'failover', 'hash'] as const) {
    const outliers = new OutlierDetector({ consecutiveFailures: 1 });
    const balancer = new Balancer({ targets, policy, zone: 'y', outliers });
    expect(counts(balancer, 20)).toEqual({ near: 20 });
    expect(balancer.pick({ exclude: (id) => id === 'near' })?.id).toBe('far');
    balancer.pick()?.failed();
    expect(counts(balancer, 20)).toEqual({ far: 20 });
  }
});

test('when all are sick all are tried; when all are excluded or weightless none is', () => {
  const outliers = new OutlierDetector({ consecutiveFailures: 1, maxEjectedRatio: 1 });
  const balancer = new Balancer({ targets: named('a', 'b'), policy: 'round-robin', outliers });
  balancer.pick()?.failed();
  balancer.pick()?.failed();
  expect(outliers.ejected).toBe(2);
  expect(counts(balancer, 10)).toEqual({ a: 5, b: 5 });
  expect(balancer.pick({ exclude: () => true })).toBeUndefined();
  balancer.update([{ id: 'a', target: '', weight: 0 }]);
  expect(balancer.pick()).toBeUndefined();
  balancer.update([]);
  expect(balancer.pick()).toBeUndefined();
});

const bad = (over: object): BalancerOptions<string> => ({ targets: named('a'), ...over });
test.each([
  [bad({ targets: named('a', 'a') }), 'targets[1].id'],
  [bad({ targets: [{ id: 'a', weight: -1 }] }), 'targets[0].weight'],
  [bad({ targets: [{ id: 'a', zone: '' }] }), 'targets[0].zone'],
  [bad({ targets: 'a' }), 'targets'],
  [bad({ policy: 'random' }), "'failover'"],
  [bad({ polcy: 'hash' }), "did you mean 'policy'"],
])('refuses %j', (options, why) => {
  expect(() => new Balancer(options)).toThrow(OptionError);
  expect(() => new Balancer(options)).toThrow(why);
});

test('a random of the user that gives no number from 0 to 1 is an error of that pick', () => {
  for (const random of [() => Number.NaN, () => 2, () => -1, () => 'x' as unknown as number]) {
    for (const policy of ['p2c-ewma', 'least-loaded', 'hash'] as const) {
      let odd = true;
      const balancer = new Balancer({ targets: named('a', 'b', 'c'), policy, random: () => (odd ? random() : 0.5) });
      expect(() => balancer.pick()).toThrow('option random');
      odd = false;
      expect(balancer.pick()).toBeDefined();
    }
  }
});
