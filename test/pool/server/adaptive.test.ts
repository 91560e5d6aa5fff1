import { expect, test } from 'vitest';
import { seeded } from '../../../bench/adaptive/simulation.js';
import type { Clock } from '../../../src/core/clock.js';
import { MEMORY, type MemoryConnection, type Message, memoryPool, outcome } from '../../support/memoryPool.js';

/** A server that does `capacityAt(t)` calls at a time, each in 50 ms give or take 30 %, and queues the others. */
function serve(clock: Clock, capacityAt: (ms: number) => number, seed = 1) {
  const random = seeded(seed);
  const queue: (() => void)[] = [];
  let running = 0;
  const next = (): void => {
    while (queue.length > 0 && running < capacityAt(clock.now())) {
      running++;
      const answer = queue.shift() as () => void;
      clock.setTimer(
        () => {
          running--;
          answer();
          next();
        },
        50 * (0.7 + 0.6 * random()),
      );
    }
  };
  return ({ id, method }: Message, connection: MemoryConnection): void => {
    if (id === undefined || method !== 'tools/call') return;
    queue.push(() => connection.answer(id, {}));
    next();
  };
}

test("maxConcurrent: 'auto' finds what a server takes at a time, and follows when that halves", async () => {
  const { pool, connector, clock } = memoryPool({ maxQueue: 10_000 });
  const halvedMs = clock.now() + 8_000;
  connector.onMessage = serve(clock, (ms) => (ms < halvedMs ? 40 : 20));
  pool.addServer({ ...MEMORY, maxConcurrent: 'auto' });
  const over = new AbortController();
  const caller = async (): Promise<void> => {
    while (!over.signal.aborted) await outcome(pool.request('s', 'tools/call', { name: 'x' }, { signal: over.signal }));
  };
  const callers = Array.from({ length: 150 }, caller);
  const limits: { atMs: number; limit: number }[] = [];
  const untilMs = clock.now() + 18_000;
  while (clock.now() < untilMs) {
    await clock.advance(50);
    limits.push({ atMs: clock.now(), limit: pool.stats('s').limit ?? 0 });
  }
  over.abort();
  await Promise.all(callers);
  const mean = (fromMs: number, toMs: number): number => {
    const of = limits.filter(({ atMs }) => atMs >= fromMs && atMs < toMs).map(({ limit }) => limit);
    return of.reduce((sum, each) => sum + each, 0) / of.length;
  };
  // The best fixed limit is the capacity (bench/adaptive/simulation.ts).
  const before = mean(halvedMs - 4_000, halvedMs);
  const after = mean(untilMs - 5_000, untilMs);
  expect(Math.abs(before - 40) / 40).toBeLessThan(0.2);
  expect(Math.abs(after - 20) / 20).toBeLessThan(0.2);
  expect(connector.made.length).toBe(1);
}, 60_000);

test('what is dropped of one caller alone, beside answers to another, moves the limit of all by nothing', async () => {
  const limitBeside = async (...droppers: string[]): Promise<number | undefined> => {
    const { pool, clock, call } = memoryPool({ maxConcurrent: 'auto' });
    pool.addServer(MEMORY);
    for (let i = 0; i < 60; i++) {
      await call('echo', { caller: { principal: 'alice' } });
      const hang = { timeoutMs: 10 };
      for (const principal of droppers) void outcome(call('hang', { ...hang, caller: { principal } }));
      await clock.advance(50);
    }
    return pool.stats('s').limit;
  };
  const alone = await limitBeside();
  expect(await limitBeside('eve')).toBe(alone);
  expect(await limitBeside('eve', 'mallory')).not.toBe(alone);
});

test('those that wait for a turn obey their time, the queue and the end of the server', async () => {
  const { pool, connector, clock, call } = memoryPool({ maxConcurrent: 'auto', maxQueue: 3 });
  pool.addServer(MEMORY);
  const hanging = Array.from({ length: 20 }, () => outcome(call('hang')));
  await expect.poll(() => connector.made.length).toBe(1);
  await expect.poll(() => pool.stats('s').inFlight).toBe(20);
  const late = outcome(call('echo', { acquireTimeoutMs: 100 }));
  const control = new AbortController();
  const aborted = outcome(call('echo', { signal: control.signal }));
  const stopped = outcome(call('echo'));
  expect(await outcome(call('echo'))).toBe('ERR_QUEUE_FULL');
  expect(pool.stats('s')).toMatchObject({ limit: 20, queued: 3 });
  await clock.advance(101);
  expect(await late).toBe('ERR_ACQUIRE_TIMEOUT');
  control.abort('enough');
  expect(await aborted).toBe('enough');
  const stop = pool.stopServer('s', { graceMs: 0 });
  expect(await stopped).toBe('ERR_SERVER_STOPPED');
  await stop;
  await Promise.all(hanging);
});
