import { expect, test } from 'vitest';
import { seeded } from '../../../bench/adaptive/simulation.js';
import { type BalancePolicy, Balancer, type BalancerPick, OutlierDetector } from '../../../src/concurrent/index.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';

/** Two targets, of which `b` answers in 5 ms. */
function two(policy: BalancePolicy = 'p2c-ewma') {
  const clock = new FakeClock();
  const outliers = new OutlierDetector({ clock });
  const targets = ['a', 'b'].map((id) => ({ id, target: id }));
  const balancer = new Balancer({ targets, policy, outliers, random: seeded(3), clock });
  const at = (id: string): BalancerPick<string> =>
    balancer.pick({ exclude: (each) => each !== id }) as BalancerPick<string>;
  const take = async (pick: BalancerPick<string>, ms: number): Promise<BalancerPick<string>> => {
    await clock.advance(ms);
    return pick;
  };
  /** Calls one after the other, of several callers, that wait 600 ms at `a`. Returns how many went there. */
  const calls = async (count: number): Promise<number> => {
    let silent = 0;
    for (let i = 0; i < count; i++) {
      const pick = balancer.pick() as BalancerPick<string>;
      if (pick.id === 'b') (await take(pick, 5)).succeeded(`caller ${i % 5}`);
      else {
        silent++;
        (await take(pick, 600)).gaveUp(`caller ${i % 5}`);
      }
      await clock.advance(100);
    }
    return silent;
  };
  const ewmaMs = (id: string): number | undefined => balancer.inspect().find((each) => each.id === id)?.ewmaMs;
  return { clock, outliers, balancer, at, take, calls, ewmaMs };
}

test.each([0, 20])('a target that is silent after %i answers draws no calls that are given up', async (answers) => {
  const { at, take, calls } = two();
  for (let i = 0; i < answers; i++) (await take(at('a'), 5)).succeeded();
  expect(await calls(300)).toBeLessThan(10);
});

test.each(['round-robin', 'least-loaded', 'failover', 'hash'] as const)(
  'with %s it is ejected once several callers in a row gave it up',
  async (policy) => {
    const { calls } = two(policy);
    expect(await calls(200)).toBeLessThan(40);
  },
);

test('calls that are in flight make a target as slow as they have waited, a subscription does not', async () => {
  const { clock, at, take, balancer } = two();
  for (const [id, ms] of [
    ['a', 5],
    ['b', 50],
  ] as const) {
    (await take(at(id), ms)).succeeded();
  }
  const next = (): string => {
    const pick = balancer.pick();
    pick?.withdrawn();
    return pick?.id ?? '';
  };
  const subscription = at('a');
  subscription.lasts();
  await clock.advance(1_000);
  expect(next()).toBe('a');
  const waiting = at('a');
  await clock.advance(1_000);
  expect(next()).toBe('b');
  (await take(at('a'), 5)).succeeded();
  expect(next()).toBe('a');
  waiting.abandoned();
  subscription.abandoned();
  expect(balancer.inspect().map(({ inFlight }) => inFlight)).toEqual([0, 0]);
});

test('a call that is given up is a failure only when it waited for far longer than is usual', async () => {
  const { at, take, outliers, ewmaMs } = two();
  for (const id of ['a', 'b']) (await take(at(id), 100)).succeeded('x');
  const gaveUp = async (ms: number, caller?: string): Promise<number> => (await take(at('a'), ms)).gaveUp(caller);
  const inRow = (): number | undefined => outliers.inspect()['a']?.failuresInRow;
  expect(await gaveUp(249, 'x')).toBe(0);
  expect(await gaveUp(490, 'x')).toBe(0);
  expect([inRow(), ewmaMs('a')]).toEqual([0, 490]);
  expect(await gaveUp(600, 'x')).toBe(600);
  expect(inRow()).toBe(1);
  // Of one caller two count, and those without a name are one.
  for (let i = 0; i < 9; i++) await gaveUp(600, 'x');
  expect(inRow()).toBe(2);
  for (let i = 0; i < 9; i++) await gaveUp(600);
  expect([inRow(), outliers.ejected]).toEqual([4, 0]);
  await gaveUp(600, 'y');
  expect(outliers.ejected).toBe(1);
  (await take(at('a'), 100)).succeeded('x');
  expect(inRow()).toBe(0);
});

test('a target of which nothing is known is no cheaper than the others once a call ended there without an answer', async () => {
  for (const how of ['abandoned', 'failed', 'rejected', 'gaveUp'] as const) {
    const { at, take, ewmaMs } = two();
    // Nothing to go by, yet.
    at('a')[how]('eve');
    expect(ewmaMs('a') ?? 0, how).toBe(0);
    (await take(at('b'), 40)).succeeded();
    at('a')[how]('eve');
    expect(ewmaMs('a'), how).toBe(40);
  }
  const { at, take, ewmaMs } = two();
  (await take(at('b'), 40)).succeeded();
  at('a').failed();
  expect(ewmaMs('a')).toBe(80);
});
