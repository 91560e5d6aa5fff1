import fc from 'fast-check';
import { expect, test } from 'vitest';
import { check } from '../../../src/testing/history/check.js';
import { History } from '../../../src/testing/history/History.js';
import type { HistoryEvent, UntimedEvent } from '../../../src/testing/history/HistoryEvent.js';
import { RULES, type Rule } from '../../../src/testing/history/Violation.js';
import { RUNS, RUNS_TIMEOUT_MS } from '../../support/runs.js';

/** The events of one call, in their order, as a good pool and a good server make them. */
const KINDS = [
  'answered',
  'refused',
  'unknown',
  'cancelled',
  'repeated',
  'list',
  'gateway',
  'progress',
  'asked',
  'rounds',
  'rerun',
  'hung',
] as const;

interface Call {
  readonly kind: (typeof KINDS)[number];
  readonly principal: string | undefined;
  readonly session: string | undefined;
  readonly acted: boolean;
}

const calls = fc.array(
  fc.record<Call>({
    kind: fc.constantFrom(...KINDS),
    principal: fc.constantFrom(undefined, 'alice', 'bob'),
    session: fc.constantFrom(undefined, 's1', 's2'),
    acted: fc.boolean(),
  }),
  { maxLength: 30, size: 'max' },
);

const SERVER = 'files';

function owner({ principal, session }: Pick<Call, 'principal' | 'session'>): object {
  return { ...(principal !== undefined && { principal }), ...(session !== undefined && { session }) };
}

function invoke(call: string, by: Pick<Call, 'principal' | 'session'>, more: object = {}): UntimedEvent {
  const at = { type: 'invoke', call, part: 'pool', server: SERVER, method: 'tools/call', tool: 'echo' } as const;
  return { ...at, ...owner(by), ...more };
}

const effect = (call: string, phase: 'begin' | 'end' | 'cancelled'): UntimedEvent => ({
  type: 'effect',
  phase,
  call,
  server: SERVER,
});

function good(call: string, by: Call): UntimedEvent[] {
  const begin = effect(call, 'begin');
  const end = effect(call, 'end');
  const answer: UntimedEvent = { type: 'answer', call, of: call };
  const lost: UntimedEvent = { type: 'failure', call, code: 'ERR_OUTCOME_UNKNOWN', acted: 'perhaps' };
  const heard = { server: SERVER, of: call };
  switch (by.kind) {
    case 'answered':
      return [invoke(call, by, { expect: 'answer' }), begin, end, answer];
    case 'refused':
      return [invoke(call, by), { type: 'failure', call, code: 'ERR_QUEUE_FULL', acted: 'no' }];
    case 'unknown':
      return [invoke(call, by, { withinMs: 1e9 }), ...(by.acted ? [begin] : []), lost];
    case 'cancelled':
      return [
        invoke(call, by),
        ...(by.acted ? [begin] : []),
        { type: 'cancel', call },
        { type: 'failure', call, code: 'AbortError' },
        ...(by.acted ? [effect(call, 'cancelled')] : []),
      ];
    case 'repeated':
      return [invoke(call, by, { idempotent: true }), begin, effect(call, 'begin'), end, answer];
    case 'rounds': {
      // Its server ran it again when its caller had been asked.
      const goesOn = (phase: 'begin' | 'end'): object => ({ ...effect(call, phase), goesOn: true });
      const further = [goesOn('begin'), goesOn('end')] as UntimedEvent[];
      return [invoke(call, by), begin, end, ...further, ...further, answer];
    }
    case 'list':
      return [
        invoke(call, by),
        begin,
        { type: 'notification', method: 'notifications/tools/list_changed', ...heard, ...owner(by), session: 's9' },
        answer,
      ];
    case 'gateway':
      return [
        invoke(call, by),
        invoke(`${call}/g`, { principal: 'gateway', session: undefined }),
        begin,
        { type: 'answer', call: `${call}/g`, of: call },
        answer,
      ];
    case 'progress':
      return [
        invoke(call, by),
        begin,
        { type: 'progress', call, progress: 1, of: call },
        { type: 'progress', call, progress: 2 },
        { type: 'notification', method: 'notifications/message', call, ...heard },
        end,
        answer,
      ];
    case 'rerun': {
      // Of another server, which tells nothing: the call was sent again, and its progress began anew.
      const progress = (value: number): UntimedEvent => ({ type: 'progress', call, progress: value });
      const again = { server: 'silent', idempotent: true };
      return [invoke(call, by, again), progress(1), progress(2), progress(1), { type: 'answer', call }];
    }
    case 'hung':
      // Its server was ended with its pool, and had nothing more to do meanwhile.
      return [
        invoke(call, by),
        { ...begin, pid: 1, session: call } as UntimedEvent,
        { type: 'cancel', call },
        { type: 'failure', call, code: 'AbortError' },
      ];
    case 'asked':
      return [
        invoke(call, by),
        begin,
        { type: 'request', method: 'sampling/createMessage', ...heard, ...owner(by) },
        { type: 'fault', fault: 'delay', call },
        answer,
      ];
  }
}

/** Permits that a window of 10 ms and 3 takes, by their own times, and a bound of two that is kept. */
function goodLimits(count: number): UntimedEvent[][] {
  const permits: UntimedEvent[] = [{ type: 'limit', limit: 'rate', max: 3, windowMs: 10 }];
  for (let index = 0; index < count; index++) {
    const sinceMs = Math.floor(index / 3) * 10 + (index % 3);
    permits.push({ type: 'permit', limit: 'rate', sinceMs, weight: 1 });
  }
  const holds: UntimedEvent[] = [{ type: 'limit', limit: 'slots', max: 2 }];
  for (let index = 0; index < count; index++) {
    holds.push({ type: 'hold', limit: 'slots', call: `h${index}` });
    if (index > 0) holds.push({ type: 'release', limit: 'slots', call: `h${index - 1}` });
    if (index > 0) holds.push({ type: 'hold', limit: 'slots' }, { type: 'release', limit: 'slots' });
  }
  return [permits, holds];
}

/** Each list in its own order, mixed as `picks` says; times rise, a permit has its own. */
function mix(lists: readonly (readonly UntimedEvent[])[], picks: readonly number[]): HistoryEvent[] {
  const left = lists.map((list) => [...list]).filter((list) => list.length > 0);
  const events: HistoryEvent[] = [];
  for (let at = 0; left.length > 0; at++) {
    const place = (picks[at % Math.max(picks.length, 1)] ?? 0) % left.length;
    const event = left[place]?.shift() as UntimedEvent;
    if (left[place]?.length === 0) left.splice(place, 1);
    events.push({ ...event, atMs: event.type === 'permit' ? event.sinceMs : at } as HistoryEvent);
  }
  return events;
}

const closed = (events: readonly HistoryEvent[], ...after: readonly UntimedEvent[]): HistoryEvent[] => {
  const last: UntimedEvent[] = [
    { type: 'close', part: 'pool' },
    { type: 'closed', part: 'pool' },
    ...after,
    { type: 'end' },
  ];
  return [...events, ...last.map((event, index) => ({ ...event, atMs: 1_000_000 + index }) as HistoryEvent)];
};

const picks = fc.array(fc.nat(1_000), { minLength: 1, maxLength: 200, size: 'max' });
const listsOf = (all: readonly Call[]): UntimedEvent[][] => [
  ...all.map((by, index) => good(`c${index}`, by)),
  ...goodLimits(all.length),
  [effect('nobody', 'begin')].map(({ ...event }) => ({ ...event, call: undefined }) as unknown as UntimedEvent),
];

test('a history made good by construction is acquitted', { timeout: RUNS_TIMEOUT_MS }, () => {
  fc.assert(
    fc.property(calls, picks, (all, order) => {
      const verdict = check(closed(mix(listsOf(all), order)));
      expect(String(verdict)).toMatch(/^not guilty/);
    }),
    { numRuns: RUNS },
  );
});

interface Plant {
  readonly rule: Rule;
  readonly events: readonly UntimedEvent[];
  readonly after?: readonly UntimedEvent[];
  /** The conviction names no call. */
  readonly anonymous?: boolean;
}

const X = 'x';
const alice = { principal: 'alice', session: 's1' };
const answered: UntimedEvent = { type: 'answer', call: X, of: X };
const heardBy = (who: object, method: string, type: 'notification' | 'request' = 'notification'): UntimedEvent =>
  ({ type, server: SERVER, method, of: X, ...who }) as UntimedEvent;
const around = (...events: readonly UntimedEvent[]): UntimedEvent[] => [
  invoke(X, alice),
  effect(X, 'begin'),
  ...events,
  answered,
];

const PLANTS: Readonly<Record<string, Plant>> = {
  'a call that never settles': { rule: 'unsettled', events: [invoke(X, alice), effect(X, 'begin')] },
  'a call answered twice': { rule: 'settled-twice', events: [...around(), answered] },
  'a call answered and failed': {
    rule: 'settled-twice',
    events: [...around(), { type: 'failure', call: X, code: 'ERR_CLOSED' }],
  },
  'an answer to no call': { rule: 'unknown-call', events: [{ type: 'answer', call: X }] },
  'a call that takes too long': {
    rule: 'late',
    events: [invoke(X, alice, { withinMs: 0.5 }), { type: 'failure', call: X, code: 'E', acted: 'perhaps' }],
  },
  'a failure of a healthy server': {
    rule: 'expected-answer',
    events: [
      invoke(X, alice, { expect: 'answer' }),
      { type: 'failure', call: X, code: 'ERR_ACQUIRE_TIMEOUT', acted: 'no' },
    ],
  },
  'an answer of another call': {
    rule: 'wrong-receiver',
    events: [invoke(X, alice), effect(X, 'begin'), { type: 'answer', call: X, of: 'y' }],
  },
  'progress of another call': {
    rule: 'wrong-receiver',
    events: around({ type: 'progress', call: X, progress: 1, of: 'y' }),
  },
  'a notification that another principal hears': {
    rule: 'wrong-receiver',
    events: around(heardBy({ principal: 'bob', session: 's1' }, 'notifications/message')),
  },
  'a notification that no principal at all hears': {
    rule: 'wrong-receiver',
    events: around(heardBy({}, 'notifications/message')),
  },
  'a list change that another principal hears': {
    rule: 'wrong-receiver',
    events: around(heardBy({ principal: 'bob' }, 'notifications/tools/list_changed')),
  },
  'a notification that another session hears': {
    rule: 'wrong-receiver',
    events: around(heardBy({ principal: 'alice', session: 's2' }, 'notifications/message')),
  },
  'a request that another session is asked': {
    rule: 'wrong-receiver',
    events: around(heardBy({ principal: 'alice', session: 's2' }, 'elicitation/create', 'request')),
  },
  'an error of another call': {
    rule: 'wrong-receiver',
    events: [
      ...good('y', { kind: 'answered', acted: true, ...alice }),
      invoke(X, alice),
      effect(X, 'begin'),
      { type: 'failure', call: X, code: 'ERR_RPC', of: 'y' },
    ],
  },
  'an effect that comes twice': { rule: 'repeated-effect', events: around(effect(X, 'begin')) },
  'an effect behind an error that denies it': {
    rule: 'acted-no',
    events: [invoke(X, alice), effect(X, 'begin'), { type: 'failure', call: X, code: 'ERR_NOT_SENT', acted: 'no' }],
  },
  'an answer that no server gave': {
    rule: 'no-effect',
    events: [...good('y', { kind: 'answered', acted: true, ...alice }), invoke(X, alice), answered],
  },
  'an answer to a cancelled call': { rule: 'cancelled-answered', events: around({ type: 'cancel', call: X }) },
  'a cancel that its server never hears of': {
    rule: 'cancel-lost',
    events: [
      invoke(X, alice),
      effect(X, 'begin'),
      { type: 'cancel', call: X },
      { type: 'failure', call: X, code: 'AbortError' },
    ],
    after: [effect(X, 'end')],
  },
  'a cancel that its server never hears of once its caller was asked': {
    rule: 'cancel-lost',
    events: [
      invoke(X, alice),
      effect(X, 'begin'),
      effect(X, 'end'),
      { ...effect(X, 'begin'), goesOn: true } as UntimedEvent,
      { type: 'cancel', call: X },
      { type: 'failure', call: X, code: 'AbortError' },
    ],
    after: [effect(X, 'end')],
  },
  'progress that falls': {
    rule: 'progress-order',
    events: around({ type: 'progress', call: X, progress: 2 }, { type: 'progress', call: X, progress: 1 }),
  },
  'progress after the answer': {
    rule: 'progress-order',
    events: [...around(), { type: 'progress', call: X, progress: 1 }],
  },
  'a window with one permit too many': {
    rule: 'limit',
    events: [
      { type: 'limit', limit: 'x', max: 2, windowMs: 1e6 },
      ...[1, 2, 3].map((sinceMs): UntimedEvent => ({ type: 'permit', limit: 'x', sinceMs, weight: 1 })),
    ],
    anonymous: true,
  },
  'a slot held once too often': {
    rule: 'limit',
    events: [
      { type: 'limit', limit: 'x', max: 1 },
      { type: 'hold', limit: 'x' },
      { type: 'hold', limit: 'x' },
    ],
    anonymous: true,
  },
  'a slot held once too often, when something was given back that was never held': {
    rule: 'limit',
    events: [
      { type: 'limit', limit: 'x', max: 1 },
      { type: 'hold', limit: 'x', call: 'a' },
      { type: 'release', limit: 'x', call: 'b' },
      { type: 'hold', limit: 'x', call: 'c' },
    ],
    anonymous: true,
  },
  'a cancel of a call that never ends, of which its server never hears': {
    rule: 'cancel-lost',
    events: [
      invoke(X, alice),
      { ...effect(X, 'begin'), pid: 7, session: 's' } as UntimedEvent,
      { type: 'cancel', call: X },
      { type: 'failure', call: X, code: 'AbortError' },
    ],
    after: [{ ...effect('another', 'begin'), pid: 7, session: 's' } as UntimedEvent],
  },
  'a close that never ends': {
    rule: 'alive-after-close',
    events: [{ type: 'close', part: 'other' }],
    anonymous: true,
  },
  'a process that outlives its pool': {
    rule: 'alive-after-close',
    events: [],
    after: [{ type: 'alive', part: 'pool', what: '4711 (S): node server.js' }],
    anonymous: true,
  },
  'a replay that went otherwise': {
    rule: 'diverged',
    events: [{ type: 'divergence', server: SERVER, what: 'result.x: recorded 1, got 2', call: X }],
  },
  'an answer after the close': {
    rule: 'alive-after-close',
    events: [invoke(X, alice), effect(X, 'begin')],
    after: [answered],
  },
};

test.each(Object.entries(PLANTS))('%s is found in any history', (_, plant) => {
  fc.assert(
    fc.property(calls, picks, (all, order) => {
      const events = mix([...listsOf(all), plant.events], order);
      const { violations } = check(closed(events, ...(plant.after ?? [])));
      expect(violations.map(({ rule }) => rule)).toEqual([plant.rule]);
      expect(violations[0]?.call).toBe(plant.anonymous === true ? undefined : X);
    }),
    { numRuns: Math.ceil(RUNS / 5) },
  );
});

test('every rule has a plant, but for the one about lost events', () => {
  const planted = new Set<Rule>(Object.values(PLANTS).map(({ rule }) => rule));
  expect(new Set(Object.keys(RULES))).toEqual(new Set([...planted, 'incomplete']));
});

test('a history comes back from its JSON lines as it was, and is judged the same', () => {
  fc.assert(
    fc.property(calls, picks, fc.constantFrom(...Object.values(PLANTS)), (all, order, plant) => {
      const history = new History();
      const events = mix([...listsOf(all), plant.events], order).sort((a, b) => a.atMs - b.atMs);
      for (const event of closed(events, ...(plant.after ?? []))) history.push(event);
      const read = History.parse(String(history));
      expect(read.events).toEqual(JSON.parse(JSON.stringify(history.events)));
      expect(String(check(read))).toBe(String(check(history)));
    }),
    { numRuns: 100 },
  );
});
