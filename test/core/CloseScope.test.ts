import { beforeEach, expect, test } from 'vitest';
import { CLOSE_DEFAULTS, type CloseHooks, CloseScope } from '../../src/core/CloseScope.js';
import { ClosedError, OptionError } from '../../src/core/errors.js';
import type { Grace } from '../../src/core/Grace.js';
import { silentLogger } from '../../src/core/logger.js';
import { FakeClock } from '../../src/testing/FakeClock.js';

let clock: FakeClock;
let done: string[];
let logged: unknown[];

beforeEach(() => {
  clock = new FakeClock();
  done = [];
  logged = [];
});

const error = (fields: object | string): void => void logged.push(fields);
const scopeOf = (hooks: CloseHooks = {}) =>
  new CloseScope('pool a', { clock, logger: { ...silentLogger, error }, ...hooks });
const never = new Promise<never>(() => undefined);
const note = (what: string) => () => void done.push(`${what}@${clock.now()}`);
const after = (ms: number) => new Promise<void>((resolve) => void clock.setTimer(resolve, ms));

/** Closes, lets 10 s pass, and gives what the close failed with. */
async function failuresOf(closing: Promise<void>): Promise<readonly unknown[]> {
  const failed = closing.then(
    () => [],
    (thrown: AggregateError) => thrown.errors as unknown[],
  );
  await clock.advance(10_000);
  return failed;
}

const endedAt = (closing: Promise<void>) => closing.then(note('closed'), note('failed'));

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

function fail(): never {
  throw new Error('from a hook');
}

async function reject(): Promise<never> {
  return fail();
}

test('the release is told what is left of the grace', async () => {
  const left: number[] = [];
  const scope = scopeOf({
    onRelease: async (grace: Grace) => {
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

test('an owned part gets what is left, is told of a shorter deadline, and is closed once at least', async () => {
  const graces: number[] = [];
  const part = {
    close: ({ graceMs = -1 } = {}) => {
      graces.push(graceMs);
      return graces.length === 1 ? after(60) : never;
    },
  };
  const scope = scopeOf();
  scope.own('part', part);
  scope.track(after(10));
  void endedAt(scope.close({ graceMs: 100 }));
  await clock.advance(20);
  void scope.close({ graceMs: 30 });
  await clock.advance(100);
  expect([graces, done]).toEqual([[90, 30], ['closed@70']]);
});

test('a part that throws when told of a shorter deadline does not break the call that tells it', async () => {
  let calls = 0;
  const scope = scopeOf();
  scope.own('part', {
    close: () => {
      if (++calls > 1) throw new Error('already closing');
      return after(10);
    },
  });
  const closing = scope.close({ graceMs: 100 });
  await clock.advance(1);
  expect(scope.close({ graceMs: 5 })).toBe(closing);
  await clock.advance(100);
  await closing;
  expect(calls).toBe(2);
});

test('the failures of a tree are one flat list, each once, whoever reports it', async () => {
  const leaf = new CloseScope('leaf', { clock });
  leaf.trackUser('job', never);
  const branch = new CloseScope('branch', { clock, onRelease: () => leaf.close() });
  branch.own('leaf', leaf);
  const scope = scopeOf();
  scope.own('branch', branch);
  scope.own('leaf too', leaf);
  expect(await failuresOf(scope.close({ graceMs: 10 }))).toMatchObject([{ what: 'job' }]);
  expect(logged).toMatchObject([{ part: 'pool a', owned: 'leaf too' }, { owned: 'branch' }]);
});

test('an aggregate of nothing is a failure too', async () => {
  const scope = scopeOf();
  const empty = new AggregateError([], 'nothing in it');
  scope.own('part', { close: () => Promise.reject(empty) });
  expect(await failuresOf(scope.close())).toEqual([empty]);
});

test('a logger that throws does not lose the failure or hang the close', async () => {
  const scope = scopeOf({ logger: { ...silentLogger, error: fail } });
  const failure = new Error('from the part');
  scope.own('part', { close: () => Promise.reject(failure) });
  expect(await failuresOf(scope.close())).toEqual([failure]);
});

test('what was given up is not closed; an old disposal does not give up a new ownership', async () => {
  const scope = scopeOf();
  const part = (name: string) => ({ close: async () => note(name)() });
  scope.own('given up', part('given up'))[Symbol.dispose]();
  const kept = part('kept');
  const old = scope.own('kept', kept);
  old[Symbol.dispose]();
  scope.own('kept', kept);
  old[Symbol.dispose]();
  await scope.close();
  expect(done).toEqual(['kept@0']);
});

test('a part that comes late is closed all the same: while letting go, and after', async () => {
  const late = (name: string, ms: number) => ({ close: () => after(ms).then(note(name)) });
  const scope = scopeOf({ onRelease: () => void scope.own('late', late('late', 20)) });
  scope.own('part', { close: async () => void scope.own('later', late('later', 30)) });
  void endedAt(scope.close());
  await clock.advance(100);
  scope.own('after', late('after', 1));
  await clock.advance(1);
  expect([done, scope.size]).toEqual([['late@20', 'later@30', 'closed@30', 'after@101'], 0]);
});

test('a timer fires once, unref’d; close and cancel disarm it', async () => {
  const scope = scopeOf();
  scope.timer('fires', 10, note('fires'));
  scope.timer('cancelled', 10, note('cancelled')).cancel();
  scope.timer('disposed', 10, note('disposed'))[Symbol.dispose]();
  const held = scope.timer('disarmed', 30, note('disarmed'));
  expect([scope.size, clock.refTimers]).toEqual([2, 0]);
  held.ref();
  expect(clock.refTimers).toBe(1);
  held.unref();
  expect(clock.refTimers).toBe(0);
  await clock.advance(20);
  expect(scope.size).toBe(1);
  await scope.close();
  await clock.advance(20);
  expect([done, clock.armedTimers]).toEqual([['fires@10'], 0]);
});

test('what a timer’s callback throws or rejects with goes to the logger, and a close awaits its promise', async () => {
  const scope = scopeOf();
  scope.timer('throws', 1, fail);
  scope.timer('rejects', 2, reject);
  scope.timer('runs', 3, () => after(50) as unknown as undefined);
  await clock.advance(3);
  expect(logged).toMatchObject([
    { part: 'pool a', timer: 'throws', error: { message: 'from a hook' } },
    { part: 'pool a', timer: 'rejects', error: { message: 'from a hook' } },
  ]);
  void endedAt(scope.close());
  await clock.advance(100);
  expect(done).toEqual(['closed@53']);
});

test('every runs from the end of one run to the start of the next, and goes on after a failure', async () => {
  const scope = scopeOf();
  let runs = 0;
  const repeated = scope.every('sweep', 10, () => {
    note('run')();
    if (++runs === 1) fail();
    return runs === 2 ? after(5).then(fail) : undefined;
  });
  await clock.advance(46);
  expect(done).toEqual(['run@10', 'run@20', 'run@35', 'run@45']);
  expect(logged).toHaveLength(2);
  repeated[Symbol.dispose]();
  await clock.advance(100);
  expect([done.length, scope.size, clock.armedTimers]).toEqual([4, 0, 0]);
  await scope.close();
});

test('a run in flight is awaited by close and is the last', async () => {
  const scope = scopeOf();
  scope.every('sweep', 10, () => after(30).then(note('ran')));
  await clock.advance(15);
  void endedAt(scope.close());
  await clock.advance(100);
  expect(done).toEqual(['ran@40', 'closed@40']);
  expect(clock.armedTimers).toBe(0);
});

test('every stopped from its own run does not come again', async () => {
  const scope = scopeOf();
  const repeated: Disposable = scope.every('sweep', 10, () => {
    note('run')();
    repeated[Symbol.dispose]();
  });
  await clock.advance(100);
  expect([done, clock.armedTimers]).toEqual([['run@10'], 0]);
  await scope.close();
});

test('on the system’s clock it closes too', async () => {
  const scope = new CloseScope('real');
  scope.every('sweep', 60_000, () => undefined);
  scope.trackUser('job', never);
  const began = performance.now();
  await expect(scope.close({ graceMs: 20 })).rejects.toThrow('job was still running after 20 ms');
  expect(performance.now() - began).toBeGreaterThanOrEqual(20);
});
