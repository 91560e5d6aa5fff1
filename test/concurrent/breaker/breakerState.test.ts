import { expect, test } from 'vitest';
import {
  type BreakerEvent,
  type BreakerPhase,
  CLOSED,
  next,
  refusedForMs,
} from '../../../src/concurrent/breaker/breakerState.js';

const rules = { halfOpenProbes: 2, resetMs: (round: number) => round * 100 };
const NOW = 1_000;

const open = (round: number, untilMs: number): BreakerPhase => ({ tag: 'open', round, untilMs });
const half = (trying: number, succeeded: number, untilMs = 1_050): BreakerPhase => ({
  tag: 'half-open',
  round: 1,
  trying,
  succeeded,
  untilMs,
});
const forcedOpen: BreakerPhase = { tag: 'forced-open' };
const forcedClosed: BreakerPhase = { tag: 'forced-closed' };

const EVENTS = ['enter', 'tripped', 'succeeded', 'failed', 'abandoned', 'forceOpen', 'forceClosed', 'reset'] as const;

/** Every state by every event; an event that a row leaves out changes nothing. */
const TABLE: readonly (readonly [string, BreakerPhase, Partial<Record<BreakerEvent, BreakerPhase>>])[] = [
  ['closed', CLOSED, { tripped: open(1, 1_100) }],
  ['open, not yet', open(1, 1_001), {}],
  ['open, at its time', open(1, 1_000), { enter: half(1, 0, 1_100) }],
  ['open, long after', { ...open(3, 5) }, { enter: { ...half(1, 0, 1_300), round: 3 } as BreakerPhase }],
  [
    'half-open, one trying, a place free',
    half(1, 0),
    { enter: half(2, 0), succeeded: half(0, 1), failed: open(2, 1_200), abandoned: open(1, 1_000) },
  ],
  ['half-open, full', half(2, 0), { succeeded: half(1, 1), failed: open(2, 1_200), abandoned: half(1, 0) }],
  ['half-open, full by one success', half(1, 1), { succeeded: CLOSED, failed: open(2, 1_200), abandoned: half(0, 1) }],
  ['half-open, one success, none trying', half(0, 1), { enter: half(1, 1), succeeded: CLOSED, failed: open(2, 1_200) }],
  [
    'half-open, full of probes that never end',
    half(2, 0, 1_000),
    { enter: half(3, 0, 1_100), succeeded: half(1, 1, 1_000), failed: open(2, 1_200), abandoned: half(1, 0, 1_000) },
  ],
  ['forced open', forcedOpen, {}],
  ['forced closed', forcedClosed, {}],
];

for (const [name, phase, row] of TABLE) {
  for (const event of EVENTS) {
    // An abandoned probe of none running cannot be: the owner counts them.
    if (name === 'half-open, one success, none trying' && event === 'abandoned') continue;
    test(`${name}: ${event}`, () => {
      const everywhere = { forceOpen: forcedOpen, forceClosed: forcedClosed, reset: CLOSED };
      const frozen = Object.freeze({ ...phase });
      expect(next(frozen, event, NOW, rules)).toEqual({ ...everywhere, ...row }[event] ?? phase);
    });
  }
}

test('how long a call is refused', () => {
  expect(refusedForMs(CLOSED, NOW, rules)).toBe(0);
  expect(refusedForMs(forcedClosed, NOW, rules)).toBe(0);
  expect(refusedForMs(forcedOpen, NOW, rules)).toBe(Number.POSITIVE_INFINITY);
  expect(refusedForMs(open(1, 1_030), NOW, rules)).toBe(30);
  expect(refusedForMs(open(1, 900), NOW, rules)).toBe(0);
  expect(refusedForMs(half(1, 0), NOW, rules)).toBe(0);
  expect(refusedForMs(half(1, 1), NOW, rules)).toBe(50);
  expect(refusedForMs(half(2, 0, 900), NOW, rules)).toBe(0);
});
