import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ClosedError, PoolkitError, ServerNotFoundError, ShutdownTimeoutError } from '../../../src/core/errors.js';
import { LifecycleManager } from '../../../src/registry/lifecycle/LifecycleManager.js';
import type { LifecycleConfig } from '../../../src/registry/lifecycle/options.js';
import { isAlive } from '../../support/processes.js';
import { RUNS } from '../../support/runs.js';

const config = (id: string): LifecycleConfig => ({
  id,
  name: id,
  command: '/bin/cat',
  restart: 'always',
  backoff: { initialMs: 1 },
  stdinGraceMs: 1_000,
  termGraceMs: 1_000,
});

const METHODS = [
  'start',
  'stop',
  'kill',
  'restart',
  'remove',
  'status',
  'list',
  'refresh',
  'crash',
  'close',
  'abrupt',
] as const;

/** A readiness check that outlasts the grace is a user's function: close names it, and is none the less complete. */
function expectOnlyAbandoned(error: unknown): void {
  expect(error).toBeInstanceOf(AggregateError);
  for (const each of (error as AggregateError).errors) {
    expect(each).toBeInstanceOf(ShutdownTimeoutError);
    expect((each as ShutdownTimeoutError).what).toMatch(/^the readiness check of [ab]$/);
  }
}

test(
  'close raced with every other method, in any order: one promise, every call settles, nothing is left alive',
  () =>
    fc.assert(
      fc.asyncProperty(
        fc.scheduler(),
        fc.array(fc.tuple(fc.constantFrom(...METHODS), fc.constantFrom('a', 'b')), { minLength: 2, maxLength: 8 }),
        async (s, calls) => {
          const manager = new LifecycleManager({ ledger: false });
          const pids: number[] = [];
          manager.on('started', ({ pid }) => pids.push(pid));
          // The scheduler also says when a server is ready: starts hang anywhere between their spawn and their end.
          const readiness = { type: 'check', check: () => s.schedule(Promise.resolve(), 'ready') } as const;
          await s.waitFor(manager.start({ ...config('a'), readiness }));
          let first: Promise<void> | undefined;
          const close = (options?: { graceMs: number }): Promise<void> => {
            const closing = manager.close(options);
            first ??= closing;
            expect(closing).toBe(first);
            return closing;
          };
          const call = async (method: (typeof METHODS)[number], id: string): Promise<unknown> => {
            if (method === 'start') return manager.start({ ...config(id), readiness });
            if (method === 'close') return close();
            if (method === 'abrupt') return close({ graceMs: 0 });
            if (method === 'list') return manager.list();
            if (method === 'refresh') return manager.refresh();
            if (method === 'crash') {
              const { pid, state } = manager.status(id);
              return pid !== undefined && state === 'ready' && isAlive(pid) && process.kill(pid, 'SIGKILL');
            }
            return manager[method](id);
          };
          const settled = Promise.allSettled(
            calls.map(async ([method, id]) => {
              await s.schedule(Promise.resolve(), method);
              const refusedStart = method === 'start' && first !== undefined;
              try {
                await call(method, id);
                expect(refusedStart).toBe(false);
              } catch (error) {
                if (method === 'close' || method === 'abrupt') expectOnlyAbandoned(error);
                else expect(error).toBeInstanceOf(PoolkitError);
                if (refusedStart) expect(error).toBeInstanceOf(ClosedError);
                if (method === 'status' || method === 'crash') expect(error).toBeInstanceOf(ServerNotFoundError);
              }
            }),
          );
          const results = await s.waitFor(settled);
          expect(results.filter(({ status }) => status === 'rejected')).toEqual([]);
          await s.waitFor(close().catch(expectOnlyAbandoned));
          expect(pids.filter(isAlive)).toEqual([]);
          expect(manager.list().filter(({ state }) => !['stopped', 'failed'].includes(state))).toEqual([]);
        },
      ),
      { numRuns: Math.min(RUNS, 60) },
    ),
  60_000,
);
