import { expect, test } from 'vitest';
import { CLOSE_DEFAULTS, type CloseHooks, CloseScope } from '../../../src/core/close/CloseScope.js';
import type { GracePeriod } from '../../../src/core/close/GracePeriod.js';
import { ClosedError, OptionError } from '../../../src/core/errors.js';
import {
  after,
  clock,
  done,
  endedAt,
  fail,
  failuresOf,
  freshBeforeEach,
  never,
  note,
  reject,
  scopeOf,
} from './closeSetting.js';

freshBeforeEach();

test('the default grace is pinned and is what close() gives', async () => {
  expect(CLOSE_DEFAULTS).toEqual({ graceMs: 5_000 });
  expect(Object.isFrozen(CLOSE_DEFAULTS)).toBe(true);
  const scope = scopeOf({ onDeadline: note('deadline') });
  scope.track(after(6_000));
  void endedAt(scope.close());
  await clock.advance(10_000);
  expect(done).toEqual(['deadline@5000', 'closed@6000']);
});

test('before, during and after, every call gives the same promise', async () => {
  const scope = scopeOf({ onRefuse: () => void seen.push(scope.close()) });
  const seen: Promise<void>[] = [];
  scope.track(after(5));
  seen.push(scope.close(), scope.close({ graceMs: 100 }));
  expect([scope.closing, scope.closed]).toEqual([true, false]);
  await clock.advance(10);
  seen.push(scope.close());
  expect(new Set(seen).size).toBe(1);
  expect([scope.closing, scope.closed, scope.size, clock.armedTimers]).toEqual([true, true, 0, 0]);
});

test.each([-1, Number.NaN, '5' as unknown as number])('graceMs %s is refused and begins nothing', async (graceMs) => {
  const scope = scopeOf();
  await expect(scope.close({ graceMs })).rejects.toThrow(OptionError);
  expect(scope.closing).toBe(false);
  scope.assertOpen();
  const closing = scope.close();
  await expect(scope.close({ graceMs })).rejects.toThrow(OptionError);
  await closing;
});

test('from the first call on it is not open and arms nothing', async () => {
  const scope = scopeOf();
  const closing = scope.close();
  expect(() => scope.assertOpen()).toThrow(ClosedError);
  expect(() => scope.timer('t', 1, note('t'))).toThrow('pool a is closed');
  scope.every('e', 1, note('e'));
  await clock.advance(10);
  await closing;
  expect(done).toEqual([]);
});

test('refusing happens in the call itself, failing only at the deadline, letting go only after', async () => {
  let fail: () => void = () => undefined;
  const scope = scopeOf({
    onRefuse: note('refuse'),
    onDeadline: () => {
      note('deadline')();
      fail();
    },
    onRelease: note('release'),
  });
  scope
    .track(
      new Promise<void>((_resolve, reject) => {
        fail = () => reject(new Error('failed at the deadline'));
      }),
    )
    .catch(note('own'));
  const closing = scope.close({ graceMs: 50 });
  expect(done).toEqual(['refuse@0']);
  expect(clock.refTimers).toBe(1);
  await clock.advance(50);
  await closing;
  expect(done).toEqual(['refuse@0', 'deadline@50', 'own@50', 'release@50']);
});

test('a user’s function that outlives the grace is named, with the grace it had; its own end is not a failure', async () => {
  const scope = scopeOf({ onDeadline: note('deadline') });
  scope.trackUser('fine', after(10));
  scope.trackUser('failing', Promise.reject(new Error('the user’s business'))).catch(() => undefined);
  scope.trackUser('job a', never);
  scope.trackUser('job b', never);
  const closing = scope.close({ graceMs: 1_000 });
  await clock.advance(10);
  expect(scope.close({ graceMs: 20 })).toBe(closing);
  expect(await failuresOf(closing)).toMatchObject([
    { code: 'ERR_SHUTDOWN_TIMEOUT', what: 'job a', timeoutMs: 30 },
    { code: 'ERR_SHUTDOWN_TIMEOUT', what: 'job b', timeoutMs: 30 },
  ]);
  expect(done).toEqual(['deadline@30']);
  await expect(closing).rejects.toThrow(
    'pool a: close left 2 failure(s): job a was still running after 30 ms and was abandoned; job b was',
  );
});

test('with no grace, what has settled already is not named', async () => {
  const scope = scopeOf({
    onRefuse: () => refuse(new ClosedError('pool a')),
    onDrain: () => Promise.resolve(),
  });
  let refuse: (error: Error) => void = () => undefined;
  const waiter = new Promise<void>((_resolve, reject) => {
    refuse = reject;
  });
  scope.trackUser('refused a moment ago', waiter).catch(() => undefined);
  scope.track(Promise.resolve());
  scope.trackUser('done', Promise.resolve());
  await scope.close({ graceMs: 0 });
});

test('with no grace, what has not is failed and named at once', async () => {
  const scope = scopeOf({ onDeadline: note('deadline') });
  scope.trackUser('job', never);
  const closing = scope.close({ graceMs: 0 });
  expect(done).toEqual(['deadline@0']);
  await expect(closing).rejects.toThrow('job was still running after 0 ms');
  expect([done, clock.now(), scope.size]).toEqual([['deadline@0'], 0, 0]);
});

test('work that comes in the very turn in which nothing was left is not failed before its time', async () => {
  const scope = scopeOf({ onDeadline: note('deadline') });
  const closing = scope.close({ graceMs: 100 });
  for (let i = 0; i < 10; i++) {
    if (!scope.closed) scope.track(after(5));
    await undefined;
  }
  await clock.advance(10);
  await closing;
  expect(done).toEqual([]);
});

test('two users’ functions that share a promise are both named', async () => {
  const scope = scopeOf();
  scope.trackUser('one', never);
  scope.trackUser('two', never);
  expect(await failuresOf(scope.close({ graceMs: 1 }))).toMatchObject([{ what: 'one' }, { what: 'two' }]);
});

test('a user’s function that the release calls has what is left of the grace', async () => {
  const scope = scopeOf({
    onRelease: () => {
      scope.trackUser('quick', after(30));
      scope.trackUser('slow', never);
    },
  });
  scope.track(after(10));
  const closing = scope.close({ graceMs: 100 });
  void endedAt(closing);
  expect(await failuresOf(closing)).toMatchObject([{ what: 'slow', timeoutMs: 100 }]);
  expect(done).toEqual(['failed@100']);
});

test('one that awaits the close it is part of is named at the deadline', async () => {
  const scope = scopeOf();
  scope.trackUser('waits for itself', (async () => scope.close({ graceMs: 40 }))()).catch(() => undefined);
  const closing = scope.close({ graceMs: 50 });
  expect(await failuresOf(closing)).toMatchObject([{ what: 'waits for itself', timeoutMs: 40 }]);
});

test('counted work is drained, and failed at the deadline if it is not', async () => {
  const drained = scopeOf({ onDrain: () => after(20), onDeadline: note('deadline') });
  void endedAt(drained.close({ graceMs: 50 }));
  await clock.advance(50);
  const stuck = scopeOf({ onDrain: () => never, onDeadline: note('deadline') });
  void endedAt(stuck.close({ graceMs: 50 }));
  await clock.advance(50);
  expect(done).toEqual(['closed@20', 'deadline@100', 'closed@100']);
});

test.each<readonly [string, CloseHooks]>([
  ['onRefuse throws', { onRefuse: fail }],
  ['onRefuse rejects', { onRefuse: reject }],
  ['onDrain throws', { onDrain: fail }],
  ['onDrain rejects', { onDrain: reject }],
  ['onDeadline throws', { onDeadline: fail }],
  ['onDeadline rejects', { onDeadline: reject }],
  ['onRelease throws', { onRelease: fail }],
  ['onRelease rejects', { onRelease: reject }],
])('%s: all the rest is attempted and the failure named once', async (_name, hooks) => {
  const attempted = {
    onRefuse: note('refuse'),
    onDeadline: note('deadline'),
    onRelease: note('release'),
  };
  const scope = scopeOf({ ...attempted, ...hooks });
  scope.track(after(20));
  scope.own('part', { close: async () => note('part')() });
  scope.timer('t', 5, note('timer'));
  const [failure, ...others] = await failuresOf(scope.close({ graceMs: 10 }));
  expect(failure).toMatchObject({ message: 'from a hook' });
  expect(others).toEqual([]);
  const expected = ['refuse@0', 'deadline@10', 'release@20', 'part@20'].filter(
    (each) => !Object.keys(hooks).some((hook) => each.startsWith(hook.slice(2).toLowerCase())),
  );
  expect(done).toEqual(expected);
});

test('the release is told what is left of the grace', async () => {
  const left: number[] = [];
  const scope = scopeOf({
    onRelease: async (grace: GracePeriod) => {
      left.push(grace.remainingMs);
      grace.onShorten((ms) => left.push(ms));
      await grace.over;
    },
  });
  scope.track(after(10));
  void endedAt(scope.close({ graceMs: 100 }));
  await clock.advance(20);
  void scope.close({ graceMs: 30 });
  await clock.advance(100);
  expect([left, done]).toEqual([[90, 30], ['closed@50']]);
});

test('on the system’s clock it closes too', async () => {
  const scope = new CloseScope('real');
  scope.every('sweep', 60_000, () => undefined);
  scope.trackUser('job', never);
  const began = performance.now();
  await expect(scope.close({ graceMs: 20 })).rejects.toThrow('job was still running after 20 ms');
  expect(performance.now() - began).toBeGreaterThanOrEqual(20);
});
