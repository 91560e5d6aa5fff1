import { createServer } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, test, vi } from 'vitest';
import { type HedgeOptions, hedge, LatencyWindow, RetryBudget } from '../../../src/concurrent/index.js';
import { OptionError } from '../../../src/errors.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';

interface Attempt {
  readonly signal: AbortSignal;
  readonly resolve: (value: string) => void;
  readonly reject: (error: unknown) => void;
}

function setup(options: HedgeOptions) {
  const clock = new FakeClock();
  const attempts: Attempt[] = [];
  const run = (own: HedgeOptions = {}): Promise<string> =>
    hedge((signal) => new Promise<string>((resolve, reject) => attempts.push({ signal, resolve, reject })), {
      clock,
      ...options,
      ...own,
    });
  return { clock, attempts, run };
}

test('a second attempt starts when the first is slow; the first answer wins and the other is aborted', async () => {
  const { clock, attempts, run } = setup({ after: 100 });
  const answer = run();
  await clock.advance(99);
  expect(attempts).toHaveLength(1);
  await clock.advance(1);
  expect(attempts).toHaveLength(2);
  attempts[1]?.resolve('second');
  expect(await answer).toBe('second');
  expect(attempts.map(({ signal }) => signal.aborted)).toEqual([true, false]);
  // What the loser says is heard by nobody, and is no unhandled rejection.
  attempts[0]?.reject(attempts[0].signal.reason);
  await clock.advance(1_000);
  expect(attempts).toHaveLength(2);
  expect(clock.armedTimers).toBe(0);
});

test('a quick answer needs no second attempt, and a failure ends the call unless another runs', async () => {
  const { clock, attempts, run } = setup({ after: 100, maxAttempts: 3 });
  const quick = run();
  attempts[0]?.resolve('quick');
  expect(await quick).toBe('quick');
  expect(clock.armedTimers).toBe(0);
  const failing = run().catch((error: unknown) => error);
  attempts[1]?.reject('broken');
  expect(await failing).toBe('broken');
  expect(clock.armedTimers).toBe(0);
  const last = run();
  await clock.advance(200);
  expect(attempts).toHaveLength(5);
  attempts[2]?.reject('first');
  attempts[3]?.reject('second');
  attempts[4]?.resolve('third');
  expect(await last).toBe('third');
  const all = run().catch((error: unknown) => error);
  await clock.advance(100);
  attempts[6]?.reject('second');
  attempts[5]?.reject('first');
  expect(await all).toBe('second');
});

test('the signal of the caller ends every attempt and leaves no listener', async () => {
  const { clock, attempts, run } = setup({ after: 10 });
  const control = new AbortController();
  const remove = vi.spyOn(control.signal, 'removeEventListener');
  const answer = run({ signal: control.signal }).catch((error: unknown) => error);
  await clock.advance(10);
  control.abort('never mind');
  expect(await answer).toBe('never mind');
  expect(attempts.map(({ signal }) => signal.reason)).toEqual(['never mind', 'never mind']);
  expect(remove).toHaveBeenCalled();
  expect(clock.armedTimers).toBe(0);
  await expect(run({ signal: control.signal })).rejects.toBe('never mind');
  expect(attempts).toHaveLength(2);
});

test('a quantile waits until enough is known; the winner is remembered', async () => {
  const clock = new FakeClock();
  const latencies = new LatencyWindow({ clock });
  const { attempts, run } = setup({ after: 'p95', latencies, minLatencies: 20, clock });
  const early = run();
  await clock.advance(10_000);
  expect(attempts).toHaveLength(1);
  attempts[0]?.resolve('late');
  await early;
  for (let i = 0; i < 199; i++) latencies.record(10);
  const hedged = run();
  await clock.advance(11);
  expect(attempts).toHaveLength(3);
  attempts[1]?.resolve('x');
  await hedged;
  expect(latencies.count).toBe(201);
});

test('a budget pays for what is added, and nothing is added without it', async () => {
  const clock = new FakeClock();
  const budget = new RetryBudget({ retryRatio: 0.1, minRetriesPerSec: 0, clock });
  const { attempts, run } = setup({ after: 1, budget, clock });
  const answers: Promise<string>[] = [];
  for (let i = 0; i < 100; i++) answers.push(run());
  await clock.advance(1);
  expect(attempts).toHaveLength(110);
  for (const each of attempts) each.resolve('x');
  await Promise.all(answers);
});

test('a function that throws at once is a rejection', async () => {
  const clock = new FakeClock();
  const failed = hedge(
    () => {
      throw new Error('at once');
    },
    { after: 0, clock },
  );
  await expect(failed).rejects.toThrow('at once');
  expect(clock.armedTimers).toBe(0);
});

test('over real sockets: the stalled request is aborted, and the server sees it go', async () => {
  let calls = 0;
  const gone: boolean[] = [];
  const server = createServer((_request, response) => {
    const first = calls++ === 0;
    response.on('close', () => gone.push(!response.writableFinished));
    if (!first) response.end('answer');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { readonly port: number };
  const answer = await hedge(async (signal) => (await fetch(`http://127.0.0.1:${port}`, { signal })).text(), {
    after: 20,
  });
  expect(answer).toBe('answer');
  while (gone.length < 2) await delay(5);
  expect(gone).toContain(true);
  expect(calls).toBe(2);
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

test.each([
  [{ after: -1 }, 'after'],
  [{ after: 'p5' as never }, 'after'],
  [{ after: 'slow' as never }, 'after'],
  [{}, 'latencies'],
  [{ after: 1, maxAttempts: 0 }, 'maxAttempts'],
  [{ after: 1, atempts: 3 } as never, 'hedge.atempts'],
])('refuses %j', async (options: HedgeOptions, name) => {
  await expect(hedge(() => 1, options)).rejects.toThrow(OptionError);
  await expect(hedge(() => 1, options)).rejects.toThrow(name);
});
