import { expect, test } from 'vitest';
import { CloseScope } from '../../../src/core/close/CloseScope.js';
import { silentLogger } from '../../../src/core/logger.js';
import {
  after,
  clock,
  done,
  endedAt,
  fail,
  failuresOf,
  freshBeforeEach,
  logged,
  never,
  note,
  scopeOf,
} from './closeSetting.js';

freshBeforeEach();

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
