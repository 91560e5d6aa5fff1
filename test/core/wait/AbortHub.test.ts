import { getEventListeners } from 'node:events';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { AbortHub, type AbortWatch } from '../../../src/core/wait/AbortHub.js';
import { RUNS, RUNS_TIMEOUT_MS } from '../../support/runs.js';

const nobody: AbortWatch = { [Symbol.dispose]: () => undefined };

const listeners = (signal: AbortSignal): number => getEventListeners(signal, 'abort').length;

test('20,000 waiters on one signal leave exactly one listener, and none once they are told', () => {
  const hub = new AbortHub();
  const controller = new AbortController();
  const told: number[] = [];
  for (let i = 0; i < 20_000; i++) hub.watch(controller.signal, () => told.push(i));
  expect([listeners(controller.signal), hub.size]).toEqual([1, 1]);
  controller.abort();
  expect([listeners(controller.signal), hub.size]).toEqual([0, 0]);
  expect(told).toEqual(Array.from({ length: 20_000 }, (_, i) => i));
});

test('each is told the reason, once', () => {
  const hub = new AbortHub();
  const controller = new AbortController();
  const reasons: unknown[] = [];
  hub.watch(controller.signal, (reason) => reasons.push(reason));
  hub.watch(controller.signal, (reason) => reasons.push(reason));
  controller.abort('stop');
  controller.abort('again');
  expect(reasons).toEqual(['stop', 'stop']);
});

test('the last one disposed removes the listener; disposing twice does nothing more', () => {
  const hub = new AbortHub();
  const { signal } = new AbortController();
  const [first, second] = [hub.watch(signal, () => undefined), hub.watch(signal, () => undefined)];
  first[Symbol.dispose]();
  first[Symbol.dispose]();
  expect([listeners(signal), hub.size]).toEqual([1, 1]);
  second[Symbol.dispose]();
  expect([listeners(signal), hub.size]).toEqual([0, 0]);
});

test('an old watch does not take the listener of those who came after it', () => {
  const hub = new AbortHub();
  const controller = new AbortController();
  const old = hub.watch(controller.signal, () => undefined);
  old[Symbol.dispose]();
  let told = 0;
  hub.watch(controller.signal, () => told++);
  old[Symbol.dispose]();
  expect(listeners(controller.signal)).toBe(1);
  controller.abort();
  expect(told).toBe(1);
});

test('one that disposes others from its callback spares them', () => {
  const hub = new AbortHub();
  const controller = new AbortController();
  const told: string[] = [];
  hub.watch(controller.signal, () => {
    told.push('first');
    spared[Symbol.dispose]();
  });
  const spared: AbortWatch = hub.watch(controller.signal, () => told.push('spared'));
  hub.watch(controller.signal, () => told.push('last'));
  controller.abort();
  expect(told).toEqual(['first', 'last']);
});

test('one that disposes itself from its callback is told once', () => {
  const hub = new AbortHub();
  const controller = new AbortController();
  let told = 0;
  const watch: AbortWatch = hub.watch(controller.signal, () => {
    told++;
    watch[Symbol.dispose]();
  });
  controller.abort();
  expect([told, listeners(controller.signal), hub.size]).toEqual([1, 0, 0]);
});

test('all are told before a callback’s throw goes its way, to uncaughtException', async () => {
  const hub = new AbortHub();
  const controller = new AbortController();
  const told: string[] = [];
  hub.watch(controller.signal, () => {
    throw new Error('from a callback');
  });
  hub.watch(controller.signal, () => told.push('second'));
  const before = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  try {
    const uncaught = new Promise((resolve) => process.once('uncaughtException', resolve));
    controller.abort();
    expect(told).toEqual(['second']);
    expect(await uncaught).toMatchObject({ message: 'from a callback' });
  } finally {
    for (const listener of before) process.on('uncaughtException', listener);
  }
});

test('two signals have a listener each, and one’s abort leaves the other’s waiters alone', () => {
  const hub = new AbortHub();
  const [a, b] = [new AbortController(), new AbortController()];
  const told: string[] = [];
  hub.watch(a.signal, () => told.push('a'));
  const waiting = hub.watch(b.signal, () => told.push('b'));
  expect(hub.size).toBe(2);
  a.abort();
  expect([told, hub.size, listeners(b.signal)]).toEqual([['a'], 1, 1]);
  waiting[Symbol.dispose]();
});

test('any order of watching, disposing and aborting tells each watch once or never', {
  timeout: RUNS_TIMEOUT_MS,
}, () => {
  const step = fc.oneof(
    fc.record({ do: fc.constant('watch' as const), signal: fc.nat(3), disposes: fc.option(fc.nat(30)) }),
    fc.record({ do: fc.constant('dispose' as const), watch: fc.nat(30) }),
    fc.record({ do: fc.constant('abort' as const), signal: fc.nat(3) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const hub = new AbortHub();
      const controllers = Array.from({ length: 4 }, () => new AbortController());
      const watches: { watch: AbortWatch; signal: number; alive: boolean; told: number }[] = [];
      const dispose = (index: number | null): void => {
        const each = index === null ? undefined : watches[index];
        if (each === undefined) return;
        each.watch[Symbol.dispose]();
        each.alive = false;
      };
      for (const each of steps) {
        if (each.do === 'dispose') dispose(each.watch);
        if (each.do === 'abort') controllers[each.signal]?.abort();
        const signal = each.do === 'watch' ? controllers[each.signal]?.signal : undefined;
        if (each.do !== 'watch' || signal === undefined || signal.aborted) continue;
        const record = { signal: each.signal, alive: true, told: 0, watch: nobody };
        record.watch = hub.watch(signal, () => {
          expect(record.alive).toBe(true);
          record.alive = false;
          record.told++;
          dispose(each.disposes);
        });
        watches.push(record);
      }
      controllers.forEach(({ signal }, i) => {
        const alive = watches.some((each) => each.signal === i && each.alive);
        expect(listeners(signal)).toBe(alive ? 1 : 0);
      });
      for (const each of watches) expect(each.told).toBeLessThanOrEqual(1);
      expect(hub.size).toBe(new Set(watches.filter((each) => each.alive).map((each) => each.signal)).size);
    }),
    { numRuns: RUNS },
  );
});
