import { beforeAll, expect, test } from 'vitest';
import { FAULT_NAMES, FAULTS } from '../../../src/testing/faults/faultTable.js';
import { expectedOf, type FaultCase, outcomesOf } from '../../support/faultRuns.js';
import { runUrl } from '../../support/urlFaultRuns.js';

const TIMEOUT = 'ERR_REQUEST_TIMEOUT';
const UNKNOWN = 'ERR_OUTCOME_UNKNOWN';
const OK = 'grüße';

/** Every fault there is on HTTP+SSE, and what a pool makes of it. */
const CASES: readonly FaultCase[] = [
  { fault: 'delay', settings: { delayMs: 20 }, first: OK },
  { fault: 'drop', first: TIMEOUT, effects: 1 },
  { fault: 'dropAnswer', first: TIMEOUT },
  { fault: 'hang', first: TIMEOUT },
  { fault: 'stall', first: TIMEOUT, next: TIMEOUT, effects: 1 },
  { fault: 'duplicate', first: OK, late: 1 },
  { fault: 'outOfOrder', settings: { delayMs: 20 }, first: OK },
  { fault: 'wrongId', settings: { nth: 2 }, warm: 1, first: TIMEOUT, late: 1, effects: 3 },
  { fault: 'unknownId', first: TIMEOUT, garbage: 1 },
  { fault: 'truncate', first: UNKNOWN },
  { fault: 'coalesce', first: OK },
  { fault: 'splitCharacter', first: OK },
  { fault: 'oversize', settings: { bytes: 2 ** 20 }, first: 'ERR_MESSAGE_TOO_LARGE' },
  { fault: 'garbage', first: OK, garbage: 3 },
  { fault: 'corrupt', first: TIMEOUT, garbage: 1 },
  { fault: 'lie', first: 'eßürg (a lie)' },
  { fault: 'error', settings: { code: -32001 }, first: 'ERR_RPC', effects: 1 },
  { fault: 'crash', first: UNKNOWN },
  { fault: 'exit', first: UNKNOWN },
  { fault: 'refuse', first: 'ERR_START_FAILED', next: 'ERR_BACKING_OFF', effects: 0 },
  { fault: 'slowStart', settings: { delayMs: 20 }, first: OK },
  { fault: 'stallEventLoop', settings: { delayMs: 20 }, first: OK },
  {
    fault: 'refused',
    settings: { delayMs: 60_000 },
    first: UNKNOWN,
    next: 'ERR_START_FAILED',
    effects: 0,
    wrapped: { next: 'ERR_NOT_SENT' },
  },
  { fault: 'resetBeforeHeaders', first: UNKNOWN },
  { fault: 'status', settings: { status: 503, retryAfter: 1 }, first: 'ERR_UPSTREAM_BUSY', effects: 1 },
  { fault: 'tokenExpired', first: 'ERR_UNAUTHORIZED', next: 'ERR_UNAUTHORIZED', effects: 0 },
  { fault: 'listChangedStorm', first: OK },
  {
    fault: 'vanishTool',
    method: 'tools/list',
    settings: { of: 'echo' },
    first: 'answered',
    next: 'ERR_RPC',
    effects: 0,
  },
  { fault: 'changeSchema', method: 'tools/list', first: 'answered', effects: 1 },
  // Long after its timeout: on a busy machine that is late.
  { fault: 'ignoreCancel', tool: 'sleep', args: { ms: 4_000 }, first: TIMEOUT, late: 1 },
  { fault: 'answerAfterCancel', first: TIMEOUT, late: 1 },
  { fault: 'silentPing', method: 'ping', first: TIMEOUT, effects: 1 },
  { fault: 'silentUnknown', method: 'no/such', first: TIMEOUT, effects: 1 },
  { fault: 'endlessCursor', method: 'tools/list', first: 'answered', effects: 1 },
  { fault: 'endlessInputRequired', first: 'answered' },
  { fault: 'progressAfterAnswer', first: OK },
  { fault: 'endlessRequests', first: TIMEOUT },
];

let outcomes: ReadonlyMap<FaultCase, unknown>;

beforeAll(async () => {
  outcomes = await outcomesOf(CASES, async (given) => {
    const modes = ['wire', 'proxy', 'faulty'] as const;
    const run = (mode: (typeof modes)[number]) => runUrl(given, mode, { transport: 'sse', era: 'legacy' });
    const [wire, proxy, wrapped] = await Promise.all(modes.map(run));
    return { wire, proxy, wrapped };
  });
}, 120_000);

test('every fault of HTTP+SSE has its row', () => {
  const named = FAULT_NAMES.filter((name) => FAULTS[name].wires.includes('sse'));
  expect(CASES.map(({ fault }) => fault).sort()).toEqual([...named].sort());
});

for (const given of CASES) {
  test(`${given.fault}: a server, a proxy in front of one and a wrapped connection come to the same`, () => {
    const expected = expectedOf(given);
    expect(outcomes.get(given)).toEqual({
      wire: expected,
      proxy: { ...expected, ...given.proxied },
      wrapped: { ...expected, ...given.wrapped },
    });
  });
}
