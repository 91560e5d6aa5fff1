import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ShutdownTimeoutError } from '../../../src/core/errors.js';
import { RUNS, RUNS_TIMEOUT_MS } from '../../support/runs.js';
import { type Act, CloseWorld, type PartKind } from './fixtureCloseScope.js';

const ms = fc.nat(24);
const graceMs = fc.oneof(ms, fc.constant(Number.POSITIVE_INFINITY));
const ends = fc.constantFrom<Act['ends']>('resolves', 'rejects', 'never');
const part = fc.constantFrom<PartKind>('clean', 'fails', 'throws', 'hangs', 'hangsThenFails', 'closesUs');
const act: fc.Arbitrary<Act> = fc.record({
  kind: fc.constantFrom<Act['kind']>(
    'nothing',
    'throw',
    'reject',
    'close',
    'badClose',
    'track',
    'user',
    'own',
    'timer',
  ),
  ms,
  ends,
  part,
});

const hooks = fc.record({
  refuse: act,
  drain: fc.option(act, { nil: undefined }),
  deadline: act,
  release: act,
  releaseMs: ms,
});

type Step =
  | { readonly do: 'track' | 'user'; readonly ms: number; readonly ends: Act['ends'] }
  | { readonly do: 'trackAndClose'; readonly ms: number; readonly graceMs: number }
  | { readonly do: 'own' | 'ownAndGiveUp'; readonly part: PartKind; readonly ms: number }
  | { readonly do: 'timer' | 'every'; readonly ms: number; readonly act: Act }
  | { readonly do: 'close'; readonly graceMs: number }
  | { readonly do: 'wait'; readonly ms: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ do: fc.constantFrom('track' as const, 'user' as const), ms, ends }),
  fc.record({ do: fc.constant('trackAndClose' as const), ms, graceMs }),
  fc.record({ do: fc.constantFrom('own' as const, 'ownAndGiveUp' as const), part, ms }),
  fc.record({ do: fc.constantFrom('timer' as const, 'every' as const), ms: ms.map((each) => each + 1), act }),
  fc.record({ do: fc.constant('close' as const), graceMs }),
  fc.record({ do: fc.constant('wait' as const), ms }),
);

function take(world: CloseWorld, each: Step): void | Promise<void> {
  // Before the end of the close work may still come, from work in flight; timers and parts of a closed one may not.
  if (each.do === 'close') return world.close(each.graceMs);
  if (each.do === 'wait') return world.clock.advance(each.ms);
  if (world.scope.closed) return;
  if (each.do === 'track') world.track(each.ms, each.ends);
  if (each.do === 'user') world.user(each.ms + 1, each.ends);
  if (each.do === 'trackAndClose') world.track(each.ms, 'resolves', () => world.close(each.graceMs));
  if (each.do === 'own') world.own_(each.part, each.ms);
  if (each.do === 'ownAndGiveUp' && !world.closing) {
    world.own_(each.part, each.ms)[Symbol.dispose]();
    world.parts.pop();
  }
  if (world.closing) return;
  if (each.do === 'timer') world.timer(each.ms, each.act);
  if (each.do === 'every') world.every(each.ms, each.act);
}

/** When work was no longer waited for: at its end, or, for what is abandoned, at the deadline. */
const over = (all: readonly { endedMs: number | undefined }[], deadlineMs: number): number[] =>
  all.map(({ endedMs = Number.POSITIVE_INFINITY }) => Math.min(endedMs, deadlineMs));

function check(world: CloseWorld): void {
  const { settledMs, deadlineMs, scope } = world;
  if (settledMs === undefined) throw new Error('the close has not settled');
  const first = world.calls[0]?.atMs ?? Number.NaN;

  // Nothing is armed, tracked or owned any more.
  expect(world.armed.size).toBe(0);
  expect(scope.size).toBe(0);
  expect([scope.closing, scope.closed]).toEqual([true, true]);

  // Everything was attempted, once.
  const times = (name: string): number => world.hooks.filter((each) => each === name).length;
  expect([times('refuse'), times('release')]).toEqual([1, 1]);
  expect(times('deadline')).toBeLessThanOrEqual(1);
  for (const each of [...world.own, ...world.parts]) {
    expect(each.endedMs, each.name).toBeDefined();
    expect(each.endedMs, each.name).toBeLessThanOrEqual(settledMs);
  }

  // Before the deadline only if all that was in flight has settled.
  if (settledMs < deadlineMs) {
    for (const each of [...world.users, ...world.counted]) {
      expect(each.endedMs, each.name).toBeLessThanOrEqual(settledMs);
    }
    expect(times('deadline')).toBe(0);
  }
  // Not later than the deadline and its own work.
  const own = over([...world.own, ...world.parts], Number.POSITIVE_INFINITY);
  const others = over([...world.users, ...world.counted], deadlineMs);
  expect(settledMs).toBeLessThanOrEqual(Math.max(first, ...own, ...others));

  // Every failure and every abandoned function is named, exactly once.
  const errors: unknown[] = world.outcome === undefined ? [] : (world.outcome as AggregateError).errors;
  const abandoned = errors.filter((each) => each instanceof ShutdownTimeoutError);
  const failed = errors.filter(
    (each) => !(each instanceof ShutdownTimeoutError || world.lateFailures.some((late) => late === each)),
  );
  expect(new Set(failed)).toEqual(new Set(world.failures));
  expect(failed.length).toBe(world.failures.length);
  for (const { name, beganMs, endedMs = Number.POSITIVE_INFINITY } of world.users) {
    const named = abandoned.filter((each) => each.what === name).length;
    // One that began after the deadline, or ended in its very millisecond, may or may not have been seen.
    if (endedMs > settledMs || (beganMs < deadlineMs && endedMs > deadlineMs)) expect(named, name).toBe(1);
    else expect(named, name).toBeLessThanOrEqual(endedMs < deadlineMs ? 0 : 1);
  }
  expect(abandoned.length).toBeLessThanOrEqual(world.users.length);
  if (world.outcome !== undefined) expect(world.outcome).toBeInstanceOf(AggregateError);
  for (const each of world.background) expect(world.logged.filter((logged) => logged === each)).toHaveLength(1);
}

test('the close contract holds for any interleaving', { timeout: RUNS_TIMEOUT_MS }, async () => {
  await fc.assert(
    fc.asyncProperty(hooks, fc.array(step, { maxLength: 24 }), async (behaviour, steps) => {
      const world = new CloseWorld(behaviour);
      for (const each of steps) await take(world, each);
      // Whatever was asked before, in the end somebody loses patience.
      world.close(20);
      await world.clock.advance(500);
      check(world);
      const { hooks: before, outcome } = world;
      world.close(0);
      await world.clock.advance(500);
      expect(world.hooks).toBe(before);
      expect(world.outcome).toBe(outcome);
      expect(world.armed.size).toBe(0);
    }),
    { numRuns: RUNS },
  );
});
