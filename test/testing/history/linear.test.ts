import fc from 'fast-check';
import { expect, test } from 'vitest';
import { check } from '../../../src/testing/history/check.js';
import type { HistoryEvent } from '../../../src/testing/history/HistoryEvent.js';
import { Spans } from '../../../src/testing/history/Spans.js';
import { Verdict } from '../../../src/testing/history/Verdict.js';
import type { Violation } from '../../../src/testing/history/Violation.js';

/** A history may be full of whatever its writer likes: its size times log of it is what it may cost to judge it. */

const ON = { server: 'files', method: 'tools/call' } as const;
const times = <T>(count: number, make: (index: number) => T): T[] => Array.from({ length: count }, (_, i) => make(i));
/** A call whose server begins it and is never told of its cancel. */
const lost = (i: number, cancelMs = 2): HistoryEvent[] => [
  { type: 'invoke', ...ON, call: `c${i}`, atMs: i },
  { type: 'effect', phase: 'begin', server: 'files', call: `c${i}`, pid: 1, session: 's', atMs: i + 1 },
  { type: 'cancel', call: `c${i}`, atMs: i + cancelMs },
];

const HISTORIES: Readonly<Record<string, (n: number) => HistoryEvent[]>> = {
  'late calls, and time that was withheld': (n) => [
    ...times(n, (i): HistoryEvent => ({ type: 'withheld', ms: 1, pid: 1, atMs: i * 2 })),
    ...times(n, (i): HistoryEvent => ({ type: 'invoke', ...ON, call: `c${i}`, withinMs: 10, atMs: i })),
    ...times(n, (i): HistoryEvent => ({ type: 'answer', call: `c${i}`, atMs: i + 10_000 })),
  ],
  'cancels that were lost, and refusals': (n) => [
    ...times(n, (i): HistoryEvent => ({ type: 'fault', fault: 'refused', server: 'files', atMs: i - 1e9 })),
    ...times(n, (i) => lost(i)).flat(),
    ...times(n, (i): HistoryEvent => ({ type: 'effect', phase: 'end', server: 'files', call: `c${i}`, atMs: 1e6 + i })),
  ],
  'cancelled calls that never end, in one session': (n) => times(n, (i) => lost(i, 1e6)).flat(),
  'calls of a gateway for one call, and what they hear': (n) => [
    { type: 'invoke', ...ON, call: 'c', part: 'gateway', atMs: 0 },
    ...times(n, (i): HistoryEvent => ({ type: 'invoke', ...ON, call: `c/${i}`, part: `pool ${i}`, atMs: 1 })),
    ...times(n, (): HistoryEvent => ({ type: 'request', ...ON, of: 'c', part: 'none', atMs: 2 })),
  ],
  'progress and effects of one call': (n) => [
    { type: 'invoke', ...ON, call: 'c', idempotent: true, atMs: 0 },
    ...times(n, (): HistoryEvent => ({ type: 'effect', phase: 'begin', server: 'files', call: 'c', atMs: 1 })),
    ...times(n, (i): HistoryEvent => ({ type: 'progress', call: 'c', progress: i, atMs: 2 })),
  ],
  'errors and effects of one call': (n) => [
    { type: 'invoke', ...ON, call: 'c', idempotent: true, atMs: 0 },
    ...times(n, (): HistoryEvent => ({ type: 'effect', phase: 'begin', server: 'files', call: 'c', atMs: 1 })),
    ...times(n, (): HistoryEvent => ({ type: 'failure', call: 'c', code: 'E', acted: 'no', atMs: 2 })),
  ],
  'holds of one bound, released from the last on': (n) => [
    { type: 'limit', limit: 'places', max: n, atMs: 0 },
    ...times(n, (i): HistoryEvent => ({ type: 'hold', limit: 'places', call: `c${i}`, atMs: 1 })),
    ...times(n, (i): HistoryEvent => ({ type: 'release', limit: 'places', call: `c${n - i}`, atMs: 2 })),
  ],
  'permits of a rate limit': (n) => [
    { type: 'limit', limit: 'rate', max: 2, windowMs: 1_000, atMs: 0 },
    ...times(n, (i): HistoryEvent => ({ type: 'permit', limit: 'rate', sinceMs: 0, weight: 1, atMs: i * 400 })),
  ],
};

const counted = <T extends object>(value: T, onRead: () => void): T =>
  new Proxy(value, {
    get: (of, name) => {
      onRead();
      return Reflect.get(of, name);
    },
  });

/** How often a member of an event is read, and how many events the violations name. */
function workOf(events: readonly HistoryEvent[]): number {
  let reads = 0;
  const looked = events.map((event) => counted(event, () => reads++));
  const { violations } = check(looked, { cancelSlackMs: 100 });
  return reads + violations.reduce((sum, { events: named }) => sum + named.length, 0);
}

test.each(Object.entries(HISTORIES))('ten times as long a history costs ten times as much: %s', (_, make) => {
  expect(workOf(make(2_000)) / workOf(make(200))).toBeLessThan(16);
});

test('a verdict of ten times as many violations takes ten times as long to tell', () => {
  let reads = 0;
  const work = (n: number): number => {
    reads = 0;
    const violations = times(n, (i): Violation => {
      return counted({ rule: 'late', message: `call ${i}`, events: [] }, () => reads++);
    });
    expect(String(new Verdict([], violations))).toContain(`GUILTY of ${n} violation(s)`);
    return reads;
  };
  expect(work(2_000) / work(200)).toBeLessThan(16);
});

test('spans cover what they cover one by one, counted once', () => {
  const span = fc.record({ fromMs: fc.integer({ min: 0, max: 40 }), untilMs: fc.integer({ min: 0, max: 40 }) });
  const moment = fc.integer({ min: -5, max: 45 });
  fc.assert(
    fc.property(fc.array(span, { maxLength: 12 }), moment, moment, (spans, fromMs, untilMs) => {
      let covered = 0;
      for (let ms = fromMs; ms < untilMs; ms++) {
        if (spans.some((each) => each.fromMs <= ms && ms < each.untilMs)) covered++;
      }
      expect(new Spans(spans).within(fromMs, untilMs)).toBe(covered);
    }),
  );
});
