import { isDeepStrictEqual } from 'node:util';
import { beforeAll, expect, test } from 'vitest';
import { fakeServer } from '../../../src/testing/fake/FakeServer.js';
import type { FakeTool } from '../../../src/testing/fake/FakeServerOptions.js';
import { FAULT_NAMES, FAULTS, type Fault } from '../../../src/testing/faults/faultTable.js';
import { closeAfter } from '../../support/closeAfter.js';
import { expectedOf, type FaultCase, outcomesOf } from '../../support/faultRuns.js';
import { httpPool } from '../../support/httpPool.js';
import { outcome } from '../../support/memoryPool.js';
import { WHOLE } from '../../support/runs.js';
import { said } from '../../support/stdioPool.js';
import { type FaultMode, runUrl } from '../../support/urlFaultRuns.js';

const TIMEOUT = 'ERR_REQUEST_TIMEOUT';
const UNKNOWN = 'ERR_OUTCOME_UNKNOWN';
const OK = 'grüße';

/** Every fault there is on Streamable HTTP, and what a pool makes of it. */
const CASES: readonly FaultCase[] = [
  { fault: 'delay', settings: { delayMs: 20 }, first: OK },
  { fault: 'drop', first: TIMEOUT, effects: 1 },
  { fault: 'dropAnswer', first: TIMEOUT },
  { fault: 'hang', first: TIMEOUT },
  { fault: 'stall', first: TIMEOUT, next: TIMEOUT, effects: 1 },
  { fault: 'duplicate', first: OK, wrapped: { late: 1 } },
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
  { fault: 'refused', settings: { delayMs: 60_000 }, first: UNKNOWN, next: 'ERR_NOT_SENT', effects: 0 },
  { fault: 'resetBeforeHeaders', first: UNKNOWN },
  { fault: 'resetAfterHeaders', first: UNKNOWN },
  { fault: 'status', settings: { status: 503, retryAfter: 1 }, first: 'ERR_UPSTREAM_BUSY', effects: 1 },
  { fault: 'redirect', first: 'ERR_PROTOCOL', effects: 1 },
  { fault: 'contentType', first: 'ERR_PROTOCOL' },
  { fault: 'compressed', first: OK },
  { fault: 'brokenChunk', first: UNKNOWN },
  { fault: 'cutStream', first: UNKNOWN },
  { fault: 'noBlankLine', first: OK },
  { fault: 'slowDrip', settings: { delayMs: 1 }, first: OK },
  { fault: 'endlessHeaders', first: 'ERR_PROTOCOL' },
  { fault: 'retry', settings: { retryAfterMs: 10 }, first: OK },
  { fault: 'sessionLost', first: OK },
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
  { fault: 'ignoreCancel', tool: 'sleep', args: { ms: 30_000 }, first: TIMEOUT },
  { fault: 'answerAfterCancel', first: TIMEOUT, wrapped: { late: 1 } },
  { fault: 'silentPing', method: 'ping', first: TIMEOUT, effects: 1 },
  { fault: 'silentUnknown', method: 'no/such', first: TIMEOUT, effects: 1 },
  { fault: 'endlessCursor', method: 'tools/list', first: 'answered', effects: 1 },
  { fault: 'endlessInputRequired', first: 'answered' },
  { fault: 'progressAfterAnswer', first: OK },
  { fault: 'endlessRequests', first: TIMEOUT },
];

const status = (code: number, first: string, more: Partial<FaultCase> = {}): FaultCase => ({
  fault: 'status',
  settings: { status: code },
  first,
  effects: 1,
  ...more,
});

/** The same faults with other settings. */
const VARIANTS: readonly FaultCase[] = [
  status(400, 'ERR_PROTOCOL'),
  status(401, 'ERR_UNAUTHORIZED'),
  status(403, 'ERR_FORBIDDEN'),
  status(404, 'ERR_PROTOCOL'),
  status(404, OK, {
    settings: { status: 404, message: 'Session not found' },
    effects: 2,
    modern: { first: 'ERR_PROTOCOL', effects: 1 },
  }),
  status(405, 'ERR_PROTOCOL'),
  status(409, 'ERR_PROTOCOL'),
  status(429, 'ERR_RATE_LIMITED', { settings: { status: 429, retryAfter: 2 } }),
  status(429, 'ERR_RATE_LIMITED', { settings: { status: 429, retryAfter: 'date', retryAfterMs: 60_000 } }),
  status(500, UNKNOWN),
  status(502, UNKNOWN),
  status(504, UNKNOWN),
  { fault: 'cutStream', settings: { at: 'before' }, first: UNKNOWN },
  { fault: 'cutStream', settings: { at: 'after' }, first: OK },
  { fault: 'sessionLost', settings: { at: 'inside' }, first: UNKNOWN },
  { fault: 'contentType', settings: { contentType: '' }, first: 'ERR_PROTOCOL' },
  { fault: 'redirect', settings: { status: 302 }, first: 'ERR_PROTOCOL', effects: 1 },
];

const ALL = [...CASES, ...VARIANTS];

/** What is another in the modern era, where each POST stands alone and there is no session. */
const MODERN: Readonly<Partial<Record<Fault, Partial<FaultCase>>>> = {
  stall: { next: 'next', effects: 2 },
  retry: { first: UNKNOWN },
  sessionLost: { first: 'ERR_PROTOCOL', effects: 1 },
};

/** What is to come late is waited for, in the count of that way. */
const cell = (given: FaultCase, mode: FaultMode, era: 'legacy' | 'modern') => {
  const differing = mode === 'faulty' ? given.wrapped : mode === 'proxy' ? given.proxied : undefined;
  return runUrl({ ...given, late: differing?.late ?? given.late ?? 0 }, mode, { transport: 'http', era });
};

const modern = (given: FaultCase): FaultCase => ({
  ...given,
  ...(CASES.includes(given) && MODERN[given.fault]),
  ...given.modern,
});

/**
 * Where each case is run. Every one is in the server, in a proxy and in a wrapped connection, and in both eras; a server and a proxy change
 * eras from case to case. Those that the eras tell apart, and all of them in `npm run test:long`, are run in each place in each era.
 */
function cellsOf(given: FaultCase) {
  const expected = expectedOf(given);
  const later = expectedOf(modern(given));
  const cells = {
    wire: { run: () => cell(given, 'wire', 'legacy'), expected },
    proxy: { run: () => cell(given, 'proxy', 'legacy'), expected: { ...expected, ...given.proxied } },
    wrapped: { run: () => cell(given, 'faulty', 'legacy'), expected: { ...expected, ...given.wrapped } },
    modernWire: { run: () => cell(modern(given), 'wire', 'modern'), expected: later },
    modernProxy: {
      run: () => cell(modern(given), 'proxy', 'modern'),
      expected: { ...later, ...modern(given).proxied },
    },
  };
  const { wire, proxy, wrapped, modernWire, modernProxy } = cells;
  if (WHOLE || !isDeepStrictEqual(expected, later)) return Object.entries(cells);
  const some = ALL.indexOf(given) % 2 === 0 ? { wire, wrapped, modernProxy } : { proxy, wrapped, modernWire };
  return Object.entries(some);
}

let outcomes: ReadonlyMap<FaultCase, unknown>;

beforeAll(async () => {
  outcomes = await outcomesOf(ALL, async (given) =>
    Object.fromEntries(await Promise.all(cellsOf(given).map(async ([where, { run }]) => [where, await run()]))),
  );
}, 120_000);

test('every fault of Streamable HTTP has its row', () => {
  const named = FAULT_NAMES.filter((name) => FAULTS[name].wires.includes('http'));
  expect(CASES.map(({ fault }) => fault).sort()).toEqual([...named].sort());
});

for (const given of ALL) {
  const label = given.settings === undefined ? given.fault : `${given.fault} ${JSON.stringify(given.settings)}`;
  test(`${label}: a server, a proxy in front of one and a wrapped connection come to the same, in both eras`, () => {
    const expected = cellsOf(given).map(([where, cell]) => [where, cell.expected]);
    expect(outcomes.get(given)).toEqual(Object.fromEntries(expected));
  });
}

test('a fault of the response spares a server whose call has said something before it answers', async () => {
  const faults = ['contentType', 'compressed', 'brokenChunk'] as const;
  const rules = faults.map((fault) => ({ fault, params: { arguments: { text: fault } } }));
  const tell: FakeTool = {
    call: ({ text }, { notify }) => {
      notify('notifications/message', { level: 'info', data: 'before the answer' });
      return String(text);
    },
  };
  const server = closeAfter(fakeServer({ name: 's', tools: { tell }, plan: { rules } }));
  const pool = httpPool();
  pool.addServer({ name: 's', transport: 'http', url: (await server.listen()).url, era: 'legacy' });
  const call = (text: string) => outcome(said(pool.request('s', 'tools/call', { name: 'tell', arguments: { text } })));
  expect([await call('contentType'), await call('compressed')]).toEqual(['contentType', 'compressed']);
  expect(await call('brokenChunk')).toBe(UNKNOWN);
  expect(await call('after it')).toBe('after it');
});
