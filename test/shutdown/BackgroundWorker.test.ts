import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ClosedError } from '../../src/errors.js';
import { BackgroundWorker } from '../../src/shutdown/index.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { closeAfter } from '../support/closeAfter.js';
import { RUNS } from '../support/runs.js';

const sleep = (clock: FakeClock, ms: number): Promise<void> =>
  new Promise((resolve) => void clock.setTimer(resolve, ms));

test('it runs after each interval, or at once too', async () => {
  const clock = new FakeClock();
  const at: number[] = [];
  const make = (runImmediately: boolean): BackgroundWorker =>
    closeAfter(new BackgroundWorker({ clock, intervalMs: 100, runImmediately, run: () => at.push(clock.now()) }));
  const patient = make(false);
  patient.start();
  patient.start();
  await clock.advance(250);
  expect(at.splice(0)).toEqual([100, 200]);
  await patient.stop();
  make(true).start();
  await clock.advance(150);
  expect(at).toEqual([250, 350]);
});

test('a run that throws is told, and the next one comes all the same', async () => {
  const clock = new FakeClock();
  const errors: unknown[] = [];
  const worker = closeAfter(
    new BackgroundWorker({
      clock,
      intervalMs: 10,
      run: () => {
        throw new Error(`run ${worker.runs}`);
      },
      onError: (error) => {
        errors.push(error);
        throw new Error('onError threw too');
      },
    }),
  );
  worker.start();
  await clock.advance(20);
  expect(errors.map(String)).toEqual(['Error: run 1', 'Error: run 2']);
});

test('stop finishes the run under way, starts no other, and is idempotent', async () => {
  const clock = new FakeClock();
  let finished = 0;
  const run = async ({ signal }: { readonly signal: AbortSignal }): Promise<void> => {
    await sleep(clock, 300);
    if (!signal.aborted) finished++;
  };
  const worker = new BackgroundWorker({ clock, intervalMs: 100, runImmediately: true, run });
  worker.start();
  await clock.advance(100);
  const stopped = worker.stop({ timeoutMs: 1_000 });
  expect(worker.stop()).toBe(stopped);
  expect(worker.close()).toBe(stopped);
  expect(worker.running).toBe(true);
  await clock.advance(200);
  await stopped;
  expect([finished, worker.runs, worker.running, clock.armedTimers]).toEqual([1, 1, false, 0]);
  expect(() => worker.start()).toThrow(ClosedError);
  await clock.advance(1_000);
  expect(worker.runs).toBe(1);
});

test('a run that does not end is abandoned at the timeout, told by its signal, and named', async () => {
  const clock = new FakeClock();
  let signal: AbortSignal | undefined;
  const run = (context: { readonly signal: AbortSignal }): Promise<never> => {
    signal = context.signal;
    return new Promise(() => undefined);
  };
  const worker = new BackgroundWorker({ name: 'reaper', clock, intervalMs: 100, runImmediately: true, run });
  worker.start();
  const check = expect(worker.stop({ timeoutMs: 500 })).rejects.toMatchObject({
    errors: [{ code: 'ERR_SHUTDOWN_TIMEOUT', what: 'reaper', timeoutMs: 500 }],
  });
  await clock.advance(500);
  await check;
  expect(signal?.aborted).toBe(true);
});

test('whatever the runs take, none overlaps another and none starts after stop', () =>
  fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 0, max: 50 }), { minLength: 1, maxLength: 10 }),
      fc.integer({ min: 0, max: 30 }),
      fc.integer({ min: 0, max: 200 }),
      async (durations, intervalMs, stopAtMs) => {
        const clock = new FakeClock();
        let running = 0;
        let most = 0;
        let after = 0;
        let stopping = false;
        const run = async (): Promise<void> => {
          if (stopping) after++;
          most = Math.max(most, ++running);
          await sleep(clock, (durations[worker.runs % durations.length] ?? 0) + 1);
          running--;
        };
        const worker = new BackgroundWorker({ clock, intervalMs, runImmediately: true, run });
        worker.start();
        await clock.advance(stopAtMs);
        stopping = true;
        const stopped = worker.stop({ timeoutMs: 60 });
        await clock.advance(60);
        await stopped;
        expect([most, after, running, clock.armedTimers]).toEqual([1, 0, 0, 0]);
      },
    ),
    { numRuns: Math.ceil(RUNS / 5) },
  ));
