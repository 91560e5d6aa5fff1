import { expect, test } from 'vitest';
import {
  next,
  type PartitionEvent,
  type PartitionRules,
  type PartitionState,
  refusedForMs,
} from '../../../../src/pool/server/partitions/partitionState.js';

const NOW = 1_000;
const RULES: PartitionRules = { stableAfterMs: 100, backoffMs: (attempt) => attempt * 10 };

const STATES = {
  idle: { tag: 'idle', attempt: 1 },
  starting: { tag: 'starting', attempt: 1 },
  'ready, early': { tag: 'ready', attempt: 0, sinceMs: NOW - 99 },
  'ready, early again': { tag: 'ready', attempt: 1, sinceMs: NOW - 99 },
  'ready, stable': { tag: 'ready', attempt: 3, sinceMs: NOW - 100 },
  backingOff: { tag: 'backingOff', attempt: 2, untilMs: NOW + 1 },
  'backingOff, over': { tag: 'backingOff', attempt: 2, untilMs: NOW },
  failed: { tag: 'failed', attempt: 2, untilMs: NOW + 1 },
  'failed, over': { tag: 'failed', attempt: 2, untilMs: NOW },
} as const satisfies Record<string, PartitionState>;

type StateName = keyof typeof STATES;
const same = 'same';
const idle = (attempt: number): PartitionState => ({ tag: 'idle', attempt });
const ready = (attempt: number): PartitionState => ({ tag: 'ready', attempt, sinceMs: NOW });
const starting = (attempt: number): PartitionState => ({ tag: 'starting', attempt });

/** Every pair of state and event. */
const TABLE: Record<PartitionEvent, Record<StateName, PartitionState | typeof same>> = {
  demand: {
    idle: starting(1),
    starting: same,
    'ready, early': same,
    'ready, early again': same,
    'ready, stable': same,
    backingOff: same,
    'backingOff, over': starting(2),
    failed: same,
    'failed, over': starting(2),
  },
  up: {
    idle: ready(1),
    starting: ready(1),
    'ready, early': same,
    'ready, early again': same,
    'ready, stable': same,
    backingOff: ready(2),
    'backingOff, over': ready(2),
    failed: ready(2),
    'failed, over': ready(2),
  },
  startFailed: {
    idle: { tag: 'failed', attempt: 2, untilMs: NOW + 20 },
    starting: { tag: 'failed', attempt: 2, untilMs: NOW + 20 },
    'ready, early': same,
    'ready, early again': same,
    'ready, stable': same,
    backingOff: same,
    'backingOff, over': same,
    failed: same,
    'failed, over': same,
  },
  gaveUp: {
    idle: same,
    starting: idle(1),
    'ready, early': same,
    'ready, early again': same,
    'ready, stable': same,
    backingOff: same,
    'backingOff, over': same,
    failed: same,
    'failed, over': same,
  },
  died: {
    idle: same,
    starting: same,
    'ready, early': idle(1),
    'ready, early again': { tag: 'backingOff', attempt: 2, untilMs: NOW + 10 },
    'ready, stable': idle(0),
    backingOff: same,
    'backingOff, over': same,
    failed: same,
    'failed, over': same,
  },
  idled: {
    idle: same,
    starting: same,
    'ready, early': idle(0),
    'ready, early again': idle(0),
    'ready, stable': idle(0),
    backingOff: same,
    'backingOff, over': same,
    failed: same,
    'failed, over': same,
  },
  reset: {
    idle: idle(0),
    starting: same,
    'ready, early': same,
    'ready, early again': same,
    'ready, stable': same,
    backingOff: idle(0),
    'backingOff, over': idle(0),
    failed: idle(0),
    'failed, over': idle(0),
  },
};

for (const [event, row] of Object.entries(TABLE)) {
  test(`a slot on '${event}', from every state`, () => {
    for (const [name, expected] of Object.entries(row)) {
      const state = STATES[name as StateName];
      const after = next(state, event as PartitionEvent, NOW, RULES);
      expect(after, name).toEqual(expected === same ? state : expected);
    }
  });
}

test('a demand is refused for as long as the pause lasts', () => {
  expect(Object.values(STATES).map((state) => refusedForMs(state, NOW))).toEqual([0, 0, 0, 0, 0, 1, 0, 1, 0]);
});
