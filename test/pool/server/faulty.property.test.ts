import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { FaultPlan } from '../../../src/testing/faults/FaultPlan.js';
import { faulty } from '../../../src/testing/faulty.js';
import { MEMORY, memoryPool, outcome } from '../../support/memoryPool.js';
import { RUNS, RUNS_TIMEOUT_MS } from '../../support/runs.js';
import { echo, stdioPool, tool } from '../../support/stdioPool.js';
import { tempFolder } from '../../support/tempFolder.js';

const share = fc.integer({ min: 0, max: 9 }).map((n) => n / 100);
const ratios = fc.record({
  delay: share,
  drop: share,
  hang: share,
  duplicate: share,
  truncate: share,
  garbage: share,
  error: share,
  crash: share,
  refuse: share,
});

const CODES = [
  'ERR_OUTCOME_UNKNOWN',
  'ERR_REQUEST_TIMEOUT',
  'ERR_START_FAILED',
  'ERR_BACKING_OFF',
  'ERR_CIRCUIT_OPEN',
  'ERR_NOT_SENT',
  'ERR_PROTOCOL',
  'ERR_RPC',
  'ERR_ACQUIRE_TIMEOUT',
];

test(
  'whatever goes wrong, every call settles, and none that is not idempotent reaches the server twice',
  () =>
    fc.assert(
      fc.asyncProperty(
        fc.integer(),
        ratios,
        fc.constantFrom('shared' as const, 'leased' as const, 'bound' as const),
        fc.array(fc.record({ idempotent: fc.boolean(), principal: fc.constantFrom('a', 'b'), waitMs: fc.nat(300) }), {
          maxLength: 40,
        }),
        async (seed, chances, sharing, calls) => {
          const { pool, connector, clock } = memoryPool({
            requestTimeoutMs: 500,
            backoff: { initialMs: 50, maxMs: 200 },
            // Its pings would go wrong too.
            healthIntervalMs: Number.POSITIVE_INFINITY,
            breakerThreshold: 5,
            breakerResetMs: 200,
            wrapConnection: (connection) => faulty(connection, plan, { clock, timeoutMs: 500 }),
          });
          const plan = new FaultPlan({ seed, ratios: chances });
          pool.addServer({ ...MEMORY, sharing, maxConnections: 2, maxConcurrent: 4 });
          const ends: Promise<unknown>[] = [];
          for (const [n, { idempotent, principal, waitMs }] of calls.entries()) {
            const caller = { principal, key: 'k' };
            ends.push(outcome(pool.request('s', 'tools/call', { name: 'x', n }, { idempotent, caller })));
            if (waitMs < 100) await clock.advance(waitMs);
          }
          await clock.advance(60_000);
          const settled = await Promise.all(ends);
          const reached = new Map<unknown, number>();
          const principals = new Map<unknown, Set<string | undefined>>();
          for (const { seen, request_ } of connector.made) {
            for (const { method, params } of seen) {
              if (method !== 'tools/call') continue;
              reached.set(params?.['n'], (reached.get(params?.['n']) ?? 0) + 1);
              const set = principals.get(request_) ?? new Set();
              principals.set(request_, set.add(calls[params?.['n'] as number]?.principal));
            }
          }
          for (const [n, { idempotent }] of calls.entries()) {
            const times = reached.get(n) ?? 0;
            expect(times).toBeLessThanOrEqual(idempotent && sharing === 'shared' ? 2 : 1);
            const end = settled[n];
            if (typeof end === 'string') expect(CODES).toContain(end);
            else expect(end).toEqual({ name: 'x', n });
            // What says that it never ran did not.
            if (
              [
                'ERR_START_FAILED',
                'ERR_BACKING_OFF',
                'ERR_CIRCUIT_OPEN',
                'ERR_NOT_SENT',
                'ERR_ACQUIRE_TIMEOUT',
              ].includes(String(end))
            ) {
              expect(times).toBe(0);
            }
          }
          for (const set of principals.values()) expect(set.size).toBe(1);
          const stats = pool.stats('s');
          expect([stats.inFlight, stats.queued]).toEqual([0, 0]);
          await pool.close({ graceMs: 0 });
          expect(connector.live).toEqual([]);
          expect(clock.armedTimers).toBe(0);
        },
      ),
      { numRuns: Math.ceil(RUNS / 4) },
    ),
  RUNS_TIMEOUT_MS,
);

test('the same over real processes', async () => {
  const log = join(tempFolder(), 'log');
  const plan = new FaultPlan({
    seed: 7,
    ratios: { delay: 0.05, hang: 0.05, duplicate: 0.05, truncate: 0.03, garbage: 0.05, error: 0.05, crash: 0.03 },
  });
  const pool = stdioPool({
    stableAfterMs: 0,
    requestTimeoutMs: 200,
    breakerThreshold: Number.POSITIVE_INFINITY,
    wrapConnection: (connection) => faulty(connection, plan, { timeoutMs: 200 }),
  });
  pool.addServer(echo([`--log=${log}`], { maxConcurrent: 8 }));
  const calls = Array.from({ length: 150 }, (_, n) => ({ n, idempotent: n % 3 === 0 }));
  const ends = await Promise.all(
    calls.map(({ n, idempotent }) => outcome(tool(pool, 'echo', { text: `t${n}`, n }, { idempotent }))),
  );
  expect(plan.counts.crash).toBeGreaterThan(0);
  const lines = readFileSync(log, 'utf8').split('\n');
  for (const { n, idempotent } of calls) {
    const times = lines.filter((line) => line.includes(`"text":"t${n}"`)).length;
    expect(times).toBeLessThanOrEqual(idempotent ? 2 : 1);
    expect([`t${n}`, ...CODES]).toContain(ends[n]);
  }
});
