import { expect, test } from 'vitest';
import { SingleFlight } from '../../../src/core/wait/SingleFlight.js';

test('many callers of one key share one run and its outcome', async () => {
  const flights = new SingleFlight();
  let runs = 0;
  const work = async (): Promise<number> => ++runs;
  expect(await Promise.all([flights.run('a', work), flights.run('a', work), flights.run('b', work)])).toEqual([
    1, 1, 2,
  ]);
  expect(flights.size).toBe(0);
  const failing = (): Promise<never> => Promise.reject(new Error('no'));
  const both = await Promise.allSettled([flights.run('a', failing), flights.run('a', failing)]);
  expect(both.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  expect(await flights.run('a', work)).toBe(3);
});

test('a caller that aborts leaves at once; the run aborts when the last one has left', async () => {
  const flights = new SingleFlight();
  const [first, second] = [new AbortController(), new AbortController()];
  const signals: AbortSignal[] = [];
  const work = (signal: AbortSignal): Promise<never> => {
    signals.push(signal);
    return new Promise(() => undefined);
  };
  const a = flights.run('a', work, first.signal);
  const b = flights.run('a', work, second.signal);
  first.abort('first');
  await expect(a).rejects.toBe('first');
  expect(signals[0]?.aborted).toBe(false);
  second.abort('second');
  await expect(b).rejects.toBe('second');
  expect(signals[0]?.aborted).toBe(true);
  expect(flights.has('a')).toBe(false);
  await expect(flights.run('a', work, first.signal)).rejects.toBe('first');
  expect(signals).toHaveLength(1);
});

test('a key that was forgotten starts a new run; the old one never frees the new one', async () => {
  const flights = new SingleFlight();
  const ends: ((value: number) => void)[] = [];
  const work = (): Promise<number> => new Promise((resolve) => ends.push(resolve));
  const old = flights.run('a', work);
  flights.forget('a');
  const fresh = flights.run('a', work);
  ends[0]?.(1);
  expect(await old).toBe(1);
  expect(flights.has('a')).toBe(true);
  ends[1]?.(2);
  expect(await fresh).toBe(2);
});

test('a run that is split goes on for who began it; those who joined leave, and the next one starts anew', async () => {
  const flights = new SingleFlight();
  const callers = [1, 2, 3, 4].map(() => new AbortController());
  const runs: { readonly signal: AbortSignal; readonly end: (value: string) => void }[] = [];
  const run = (at: number): Promise<string> =>
    flights.run('a', (signal) => new Promise<string>((end) => runs.push({ signal, end })), callers[at]?.signal);
  const [first, left, second] = [run(0), run(1), run(2)];
  callers[1]?.abort('gone');
  await expect(left).rejects.toBe('gone');
  flights.split('split');
  await expect(second).rejects.toBe('split');
  expect([flights.has('a'), runs[0]?.signal.aborted]).toEqual([false, false]);
  const next = run(3);
  runs[0]?.end('first');
  runs[1]?.end('next');
  expect([await first, await next, runs.length]).toEqual(['first', 'next', 2]);
  // Of one that its first caller has left, none is left.
  const [gone, last] = [run(0), run(2)];
  callers[0]?.abort('gone');
  await expect(gone).rejects.toBe('gone');
  flights.split('split');
  await expect(last).rejects.toBe('split');
  expect(runs[2]?.signal.aborted).toBe(true);
});
