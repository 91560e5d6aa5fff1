import assert from 'node:assert/strict';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { OutlierDetector, type OutlierDetectorOptions } from '../../../src/concurrent/index.js';
import { OptionError } from '../../../src/errors.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';

function setup(options: OutlierDetectorOptions = {}, ids = ['a', 'b', 'c', 'd']) {
  const clock = new FakeClock();
  const ejected: string[] = [];
  const detector = new OutlierDetector({ clock, onEject: (id, reason) => ejected.push(`${id} ${reason}`), ...options });
  for (const id of ids) detector.add(id);
  return { clock, detector, ejected };
}

test('failures in a row take a target out at once, for longer each time, and it comes back slowly', async () => {
  const { clock, detector, ejected } = setup({ consecutiveFailures: 3, ejectionMs: 1_000, slowStartMs: 1_000 });
  detector.failed('a');
  detector.failed('a');
  detector.succeeded('a', 1);
  for (let i = 0; i < 3; i++) detector.failed('a');
  expect(ejected).toEqual(['a consecutiveFailures']);
  expect(detector.share('a')).toBe(0);
  expect(detector.share('b')).toBe(1);
  await clock.advance(999);
  expect(detector.share('a')).toBe(0);
  await clock.advance(1);
  expect(detector.share('a')).toBeCloseTo(0.1);
  await clock.advance(500);
  expect(detector.share('a')).toBeCloseTo(0.55);
  for (let i = 0; i < 3; i++) detector.failed('a');
  expect(detector.inspect()['a']).toMatchObject({ ejected: true, backInMs: 2_000, ejections: 2 });
  await clock.advance(3_000);
  expect(detector.share('a')).toBe(1);
});

test('a share of failures of an interval takes a target out, with enough calls only', async () => {
  const { clock, detector, ejected } = setup({ failureRatio: 0.5, minCalls: 10, intervalMs: 1_000 });
  for (let i = 0; i < 10; i++) {
    if (i % 2 === 0) detector.failed('a');
    else detector.succeeded('a', 1);
    if (i < 4) detector.failed('b');
  }
  await clock.advance(1_000);
  detector.succeeded('c', 1);
  expect(ejected).toEqual(['a failureRatio']);
});

test('one that is much slower than the middle of all goes out, and two targets can be told apart', async () => {
  const { clock, detector, ejected } = setup({ latencyFactor: 5, minCalls: 5 }, ['a', 'b']);
  for (let i = 0; i < 5; i++) {
    detector.succeeded('a', 10);
    detector.succeeded('b', 60);
  }
  await clock.advance(1_000);
  detector.succeeded('a', 10);
  expect(ejected).toEqual(['b latency']);
});

test('the slow calls of one caller, fewer than half, eject no target', async () => {
  const { clock, detector, ejected } = setup({ latencyFactor: 5, minCalls: 5 }, ['a', 'b']);
  for (let i = 0; i < 300; i++) {
    detector.succeeded('a', 10);
    detector.succeeded('b', i % 3 === 0 ? 60_000 : 10);
  }
  await clock.advance(1_000);
  detector.succeeded('a', 10);
  expect(ejected).toEqual([]);
});

test('votes: one caller’s failures eject no target, not even one that is coming back; those of several do', async () => {
  const { clock, detector, ejected } = setup({ consecutiveFailures: 4, minCalls: 2, slowStartMs: 10_000 });
  for (let i = 0; i < 20; i++) detector.failed('a', 'eve');
  await clock.advance(1_000);
  detector.succeeded('b', 1);
  expect(ejected).toEqual([]);
  for (const voter of ['mallory', 'trudy']) detector.failed('a', voter);
  expect(ejected).toEqual(['a consecutiveFailures']);
  await clock.advance(5_000);
  for (let i = 0; i < 20; i++) detector.failed('a', 'eve');
  expect(ejected).toHaveLength(1);
  detector.failed('a', 'mallory');
  expect(ejected).toHaveLength(2);
});

test('one caller’s latencies eject no target: neither its own slow ones nor, by being quick, another', async () => {
  const { clock, detector, ejected } = setup({}, ['a', 'b']);
  for (let i = 0; i < 80; i++) {
    detector.succeeded('a', 1, 'alice');
    detector.succeeded('b', 5_000, 'eve');
  }
  await clock.advance(1_000);
  for (let i = 0; i < 80; i++) {
    detector.succeeded('a', 100, 'alice');
    detector.succeeded('a', 1, 'eve');
    detector.succeeded('b', 100, 'alice');
    detector.succeeded('b', 100, 'bob');
  }
  await clock.advance(1_000);
  detector.succeeded('a', 1, 'alice');
  expect(ejected).toEqual([]);
});

test('a target that is slow for each of its callers goes out, however much one of them calls', async () => {
  const { clock, detector, ejected } = setup({}, ['a', 'b']);
  for (let i = 0; i < 20; i++) {
    detector.succeeded('b', 1, 'eve');
    for (const caller of ['alice', 'bob']) {
      if (i < 5) detector.succeeded('b', 1_000, caller);
      detector.succeeded('a', 10, caller);
    }
  }
  await clock.advance(1_000);
  detector.succeeded('a', 10);
  expect(ejected).toEqual(['b latency']);
});

test('time without trouble makes the next ejection short again', async () => {
  const { clock, detector } = setup({ consecutiveFailures: 1, ejectionMs: 1_000, slowStartMs: 0, intervalMs: 100 });
  detector.failed('a');
  await clock.advance(1_000);
  detector.failed('a');
  expect(detector.inspect()['a']?.backInMs).toBe(2_000);
  await clock.advance(2_000);
  for (let i = 0; i < 3; i++) {
    detector.succeeded('a', 1);
    await clock.advance(100);
  }
  detector.failed('a');
  expect(detector.inspect()['a']?.backInMs).toBe(1_000);
});

test('never more than the share of targets is out, whatever fails', async () => {
  const step = fc.record({
    id: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'gone'),
    how: fc.constantFrom('bad', 'bad', 'good', 'slow', 'remove', 'add'),
    ms: fc.integer({ min: 0, max: 300 }),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 150, size: 'max' }),
      fc.constantFrom(0, 0.2, 0.5, 1),
      async (steps, maxEjectedRatio) => {
        const { clock, detector } = setup({
          maxEjectedRatio,
          consecutiveFailures: 2,
          minCalls: 2,
          intervalMs: 100,
          ejectionMs: 500,
        });
        let size = 4;
        const there = new Set(['a', 'b', 'c', 'd']);
        for (const { id, how, ms } of steps) {
          if (ms > 200) await clock.advance(ms);
          const outBefore = detector.ejected;
          if (how === 'bad') detector.failed(id);
          else if (how === 'add') {
            detector.add(id);
            there.add(id);
          } else if (how === 'remove' && there.size > 1) {
            detector.remove(id);
            there.delete(id);
          } else detector.succeeded(id, how === 'slow' ? 5_000 : 1);
          size = there.size;
          // A target that goes may leave a greater share of the rest out; none is added then.
          if (detector.ejected > outBefore) expect(detector.ejected).toBeLessThanOrEqual(size * maxEjectedRatio + 1e-9);
          for (const each of there) {
            // `assert`, which costs a hundredth of `expect`: there are 80,000 of them.
            assert(detector.share(each) >= 0);
            assert(detector.share(each) <= 1);
          }
        }
      },
    ),
    { numRuns: 200 },
  );
});

test.each([
  [{ consecutiveFailures: 0 }, 'consecutiveFailures'],
  [{ failureRatio: 0 }, 'failureRatio'],
  [{ latencyFactor: 1 }, 'latencyFactor'],
  [{ maxEjectedRatio: 2 }, 'maxEjectedRatio'],
  [{ ejectionMs: 10, maxEjectionMs: 5 }, 'maxEjectionMs'],
])('refuses %j', (options, name) => {
  expect(() => new OutlierDetector(options)).toThrow(OptionError);
  expect(() => new OutlierDetector(options)).toThrow(name);
});
