import { expect, test } from 'vitest';
import type { Connection } from '../../../src/connection/Connection.js';
import { fakeServer } from '../../../src/testing/fake/FakeServer.js';
import type { FakeTool } from '../../../src/testing/fake/FakeServerOptions.js';
import { FAULT_NAMES, FAULTS } from '../../../src/testing/faults/faultTable.js';
import { faulty } from '../../../src/testing/faulty.js';
import { closeAfter } from '../../support/closeAfter.js';
import { expectedOf, type FaultCase, type FaultOutcome, planOf, runCase } from '../../support/faultRuns.js';
import { httpPool } from '../../support/httpPool.js';
import { outcome } from '../../support/memoryPool.js';
import { said } from '../../support/stdioPool.js';

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

async function run(given: FaultCase, mode: 'wire' | 'faulty'): Promise<FaultOutcome> {
  const plan = planOf(given);
  const server = closeAfter(fakeServer({ name: 's', ...(mode === 'wire' && { plan }) }));
  const { url } = await server.listen();
  const connections: Connection[] = [];
  const pool = httpPool({
    stableAfterMs: 0,
    backoff: given.fault === 'refuse' ? { initialMs: 60_000 } : { initialMs: 1, maxMs: 1 },
    maxMessageBytes: 2 ** 20,
    healthIntervalMs: Number.POSITIVE_INFINITY,
    wrapConnection: async (made) => {
      const connection = mode === 'faulty' ? await faulty(made, plan) : made;
      connections.push(connection);
      return connection;
    },
  });
  pool.addServer({ name: 's', transport: 'http', url, era: 'legacy' });
  return runCase(pool, connections, () => server.events, given);
}

test('every fault of Streamable HTTP has its row', () => {
  const named = FAULT_NAMES.filter((name) => FAULTS[name].wires.includes('http'));
  expect(CASES.map(({ fault }) => fault).sort()).toEqual([...named].sort());
});

for (const given of CASES) {
  test(`${given.fault}: a real server and a wrapped connection come to the same`, async () => {
    const [wire, wrapped] = await Promise.all([run(given, 'wire'), run(given, 'faulty')]);
    expect({ wire, wrapped }).toEqual({ wire: expectedOf(given), wrapped: { ...expectedOf(given), ...given.wrapped } });
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
