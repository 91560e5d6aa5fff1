import { expect, test } from 'vitest';
import { after, clock, done, endedAt, fail, freshBeforeEach, logged, note, reject, scopeOf } from './closeSetting.js';

freshBeforeEach();

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
