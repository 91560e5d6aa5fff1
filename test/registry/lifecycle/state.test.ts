import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  isOver,
  next,
  type RestartPolicy,
  type ServerEvent,
  type ServerState,
} from '../../../src/registry/lifecycle/state.js';

const policy: RestartPolicy = {
  restart: 'on-failure',
  maxRestarts: 2,
  restartWindowMs: 1_000,
  stableAfterMs: 500,
  delayMs: (attempt) => 100 * attempt,
};

const NOW = 10_000;

const states: Readonly<Record<string, ServerState>> = {
  stopped: { tag: 'stopped' },
  'first start': { tag: 'starting', attempt: 0, restartsAtMs: [] },
  restart: { tag: 'starting', attempt: 1, restartsAtMs: [NOW - 10] },
  'last restart': { tag: 'starting', attempt: 2, restartsAtMs: [NOW - 20, NOW - 10] },
  'ready for short': { tag: 'ready', attempt: 1, restartsAtMs: [NOW - 10], sinceMs: NOW - 5 },
  'ready for long': { tag: 'ready', attempt: 1, restartsAtMs: [NOW - 5_000], sinceMs: NOW - 4_900 },
  backingOff: { tag: 'backingOff', attempt: 1, restartsAtMs: [NOW - 10], delayMs: 90 },
  stopping: { tag: 'stopping' },
  exited: { tag: 'exited' },
  failed: { tag: 'failed' },
};

const events: Readonly<Record<string, ServerEvent>> = {
  start: { type: 'start' },
  ready: { type: 'ready', nowMs: NOW },
  crash: { type: 'down', nowMs: NOW, clean: false },
  'clean exit': { type: 'down', nowMs: NOW, clean: true },
  due: { type: 'due' },
  stop: { type: 'stop' },
  dead: { type: 'dead' },
  stuck: { type: 'stuck' },
};

/** What each pair leads to; a pair that is not here leaves the state as it is. */
const moves: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  stopped: { start: 'starting 0', stuck: 'failed' },
  'first start': {
    ready: 'ready 0',
    crash: 'failed',
    'clean exit': 'failed',
    stop: 'stopping',
    stuck: 'failed',
  },
  restart: {
    ready: 'ready 1',
    crash: 'backingOff 2 +200',
    'clean exit': 'backingOff 2 +200',
    stop: 'stopping',
    stuck: 'failed',
  },
  'last restart': { ready: 'ready 2', crash: 'failed', 'clean exit': 'failed', stop: 'stopping', stuck: 'failed' },
  'ready for short': { crash: 'backingOff 2 +200', 'clean exit': 'exited', stop: 'stopping', stuck: 'failed' },
  'ready for long': { crash: 'backingOff 1 +100', 'clean exit': 'exited', stop: 'stopping', stuck: 'failed' },
  backingOff: { due: 'starting 1', stop: 'stopping', stuck: 'failed' },
  stopping: { dead: 'stopped', stuck: 'failed' },
  exited: { start: 'starting 0', stop: 'stopping', stuck: 'failed' },
  failed: { start: 'starting 0', stop: 'stopping', stuck: 'failed' },
};

function inShort(state: ServerState): string {
  const attempt = 'attempt' in state ? ` ${state.attempt}` : '';
  return `${state.tag}${attempt}${state.tag === 'backingOff' ? ` +${state.delayMs}` : ''}`;
}

test('every pair of state and event leads where the diagram says', () => {
  for (const [from, state] of Object.entries(states)) {
    for (const [name, event] of Object.entries(events)) {
      const after = next(state, event, policy);
      const wanted = moves[from]?.[name];
      if (wanted === undefined) expect([from, name, after]).toEqual([from, name, state]);
      else expect([from, name, inShort(after)]).toEqual([from, name, wanted]);
    }
  }
});

test('the policy decides which exits are restarted', () => {
  const ready: ServerState = { tag: 'ready', attempt: 0, restartsAtMs: [], sinceMs: NOW };
  const after = (restart: RestartPolicy['restart'], clean: boolean): string =>
    next(ready, { type: 'down', nowMs: NOW, clean }, { ...policy, restart }).tag;
  expect([after('never', false), after('never', true)]).toEqual(['exited', 'exited']);
  expect([after('on-failure', false), after('on-failure', true)]).toEqual(['backingOff', 'exited']);
  expect([after('always', false), after('always', true)]).toEqual(['backingOff', 'backingOff']);
});

test('without a budget every crash is restarted, and no stamps pile up', () => {
  const endless = { ...policy, maxRestarts: Number.POSITIVE_INFINITY, restartWindowMs: Number.POSITIVE_INFINITY };
  let state: ServerState = { tag: 'starting', attempt: 1, restartsAtMs: [] };
  for (let i = 0; i < 100; i++) {
    state = next(state, { type: 'down', nowMs: i, clean: false }, endless);
    expect(state).toMatchObject({ tag: 'backingOff', attempt: i + 2, restartsAtMs: [i] });
    state = next(state, { type: 'due' }, endless);
  }
});

test('under any history no window holds more restarts than allowed, and only start leaves an end state', () => {
  const step = fc.record({
    type: fc.constantFrom<ServerEvent['type']>(
      'start',
      'ready',
      'ready',
      'down',
      'down',
      'due',
      'due',
      'stop',
      'dead',
      'stuck',
    ),
    afterMs: fc.integer({ min: 0, max: 600 }),
    clean: fc.boolean(),
  });
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 200 }),
      fc.integer({ min: 0, max: 4 }),
      fc.constantFrom<RestartPolicy['restart']>('never', 'on-failure', 'always'),
      (steps, maxRestarts, restart) => {
        let nowMs = 0;
        let state: ServerState = { tag: 'stopped' };
        let restarts: number[] = [];
        for (const { type, afterMs, clean } of steps) {
          nowMs += afterMs;
          const before: ServerState = state;
          state = next(before, { type, nowMs, clean }, { ...policy, maxRestarts, restart });
          if (type === 'start' && before !== state) restarts = [];
          if (state.tag === 'backingOff' && before.tag !== 'backingOff') {
            expect(restart === 'never' && before.tag === 'ready').toBe(false);
            restarts.push(nowMs);
            const window = restarts.filter((atMs) => nowMs - atMs < policy.restartWindowMs);
            expect(window.length).toBeLessThanOrEqual(maxRestarts);
            expect(state.attempt).toBeGreaterThan(0);
            expect(state.delayMs).toBeGreaterThan(0);
          }
          if (isOver(before) && !isOver(state)) expect(['start', 'stop']).toContain(type);
          if (state.tag === 'starting' && before.tag !== 'starting') expect(['start', 'due']).toContain(type);
        }
      },
    ),
  );
});
