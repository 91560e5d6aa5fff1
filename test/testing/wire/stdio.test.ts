import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import type { Connection } from '../../../src/connection/Connection.js';
import { fakeServerCommand } from '../../../src/testing/fake/child/fakeServerCommand.js';
import { FAULT_NAMES, FAULTS } from '../../../src/testing/faults/faultTable.js';
import { faulty } from '../../../src/testing/faulty.js';
import { closeAfter } from '../../support/closeAfter.js';
import {
  eventsFile,
  eventsIn,
  expectedOf,
  type FaultCase,
  type FaultOutcome,
  outcomesOf,
  planOf,
  runCase,
} from '../../support/faultRuns.js';
import { stdioPool } from '../../support/stdioPool.js';

const TIMEOUT = 'ERR_REQUEST_TIMEOUT';
const UNKNOWN = 'ERR_OUTCOME_UNKNOWN';
const OK = 'grüße';

/** Every fault there is on stdio, and what a pool makes of it. */
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
  { fault: 'truncate', first: UNKNOWN, garbage: 1 },
  { fault: 'coalesce', first: OK },
  { fault: 'splitCharacter', first: OK },
  { fault: 'oversize', settings: { bytes: 2 ** 20 }, first: 'ERR_MESSAGE_TOO_LARGE' },
  { fault: 'garbage', first: OK, garbage: 3 },
  { fault: 'corrupt', first: TIMEOUT, garbage: 1 },
  { fault: 'lie', first: 'eßürg (a lie)' },
  { fault: 'error', settings: { code: -32001 }, first: 'ERR_RPC', effects: 1 },
  { fault: 'crash', first: UNKNOWN },
  { fault: 'exit', settings: { exitCode: 9 }, first: UNKNOWN },
  { fault: 'refuse', first: 'ERR_START_FAILED', next: 'ERR_BACKING_OFF', effects: 0 },
  { fault: 'slowStart', settings: { delayMs: 20 }, first: OK },
  { fault: 'noise', first: OK, garbage: 3 },
  { fault: 'deaf', first: OK },
  { fault: 'daemon', first: OK },
  { fault: 'stderrFlood', first: OK },
  { fault: 'stopReading', first: OK, next: TIMEOUT, effects: 1 },
  { fault: 'closeOutput', first: UNKNOWN },
  { fault: 'leakMemory', first: OK },
  { fault: 'stallEventLoop', settings: { delayMs: 20 }, first: OK },
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

async function run(given: FaultCase, mode: 'wire' | 'faulty'): Promise<FaultOutcome> {
  const folder = mkdtempSync(join(tmpdir(), 'poolkit-test-'));
  closeAfter({ close: async () => rmSync(folder, { recursive: true, force: true }) });
  const file = eventsFile(folder);
  const plan = planOf(given);
  const connections: Connection[] = [];
  const pool = stdioPool({
    stableAfterMs: 0,
    backoff: given.fault === 'refuse' ? { initialMs: 60_000 } : { initialMs: 1, maxMs: 1 },
    maxMessageBytes: 2 ** 20,
    stdinGraceMs: 200,
    termGraceMs: 200,
    healthIntervalMs: Number.POSITIVE_INFINITY,
    wrapConnection: async (made) => {
      const connection = mode === 'faulty' ? await faulty(made, plan) : made;
      connections.push(connection);
      return connection;
    },
  });
  const command = fakeServerCommand({
    name: 's',
    eventsFile: file,
    ...(mode === 'wire' && { plan, stateFile: `${folder}/state` }),
  });
  pool.addServer({ name: 's', transport: 'stdio', ...command });
  return runCase(pool, connections, () => eventsIn(file), given);
}

let outcomes: ReadonlyMap<FaultCase, unknown>;

beforeAll(async () => {
  outcomes = await outcomesOf(CASES, async (given) => {
    const [wire, wrapped] = await Promise.all([run(given, 'wire'), run(given, 'faulty')]);
    return { wire, wrapped };
  });
}, 120_000);

test('every fault of stdio has its row', () => {
  const named = FAULT_NAMES.filter((name) => FAULTS[name].wires.includes('stdio'));
  expect(CASES.map(({ fault }) => fault).sort()).toEqual([...named].sort());
});

for (const given of CASES) {
  test(`${given.fault}: a real process and a wrapped connection come to the same`, () => {
    const expected = expectedOf(given);
    expect(outcomes.get(given)).toEqual({ wire: expected, wrapped: expected });
  });
}
