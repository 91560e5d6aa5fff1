import { expect, test } from 'vitest';
import { check } from '../../../src/testing/history/check.js';
import type { HistoryEvent } from '../../../src/testing/history/HistoryEvent.js';

/** A machine that gives a process no time excuses what came late by as much, and no more. */

const CALL = { call: 'x', server: 'files', method: 'tools/call' } as const;

const rulesOf = (events: readonly HistoryEvent[]) => check(events).violations.map(({ rule }) => rule);

/** A call that its server worked on for 3 s after its cancel; 2 s may be. */
const lostCancel = (...withheld: HistoryEvent[]): HistoryEvent[] => [
  { type: 'invoke', ...CALL, atMs: 0 },
  { type: 'effect', phase: 'begin', ...CALL, atMs: 10 },
  { type: 'cancel', call: 'x', atMs: 1_000 },
  { type: 'failure', call: 'x', code: 'AbortError', atMs: 1_001 },
  ...withheld,
  { type: 'effect', phase: 'end', ...CALL, atMs: 4_000 },
  { type: 'end', atMs: 5_000 },
];

/** A call that took 3 s; 2 s were promised. */
const lateCall = (...withheld: HistoryEvent[]): HistoryEvent[] => [
  { type: 'invoke', ...CALL, withinMs: 2_000, atMs: 0 },
  { type: 'effect', phase: 'begin', ...CALL, atMs: 10 },
  ...withheld,
  { type: 'answer', call: 'x', of: 'x', atMs: 3_000 },
  { type: 'end', atMs: 5_000 },
];

const withheld = (ms: number, atMs: number, pid = 1): HistoryEvent => ({ type: 'withheld', ms, pid, atMs });

test.each([
  ['cancel-lost', lostCancel],
  ['late', lateCall],
] as const)('%s: time that the machine withheld meanwhile does not count', (_, history) => {
  expect(rulesOf(history(withheld(1_000, 2_500)))).toEqual([]);
  expect(rulesOf(history(withheld(600, 1_700), withheld(600, 2_900)))).toEqual([]);
});

const refused = (atMs: number, server = 'files'): HistoryEvent => ({
  type: 'fault',
  fault: 'refused',
  server,
  call: 'y',
  atMs,
});

test('a cancel that was on its way when its server refused all connections is no one’s fault', () => {
  expect(rulesOf(lostCancel(refused(900)))).toEqual([]);
  expect(rulesOf(lostCancel(refused(1_100)))).toEqual([]);
  expect(rulesOf(lostCancel(refused(1_100, 'notes')))).toEqual(['cancel-lost']);
  expect(rulesOf(lostCancel(refused(3_500)))).toEqual(['cancel-lost']);
});

test.each([
  ['cancel-lost', lostCancel],
  ['late', lateCall],
] as const)('%s: too little of it, or at another time, or told by two processes, excuses nothing', (rule, history) => {
  expect(rulesOf(history())).toEqual([rule]);
  expect(rulesOf(history(withheld(900, 2_500)))).toEqual([rule]);
  expect(rulesOf(history(withheld(60_000, -1)))).toEqual([rule]);
  expect(rulesOf(history(withheld(4_000, 9_000)))).toEqual([rule]);
  expect(rulesOf(history(withheld(700, 2_500), withheld(700, 2_500, 2)))).toEqual([rule]);
});
