import { expect, test } from 'vitest';
import { sleep } from '../../../src/core/time/sleep.js';
import { withDeadline, within } from '../../../src/core/time/within.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';

const never = new Promise<never>(() => undefined);

test('within settles as its promise does and leaves no timer', async () => {
  const clock = new FakeClock();
  await expect(within(Promise.resolve(1), { clock, timeoutMs: 10 })).resolves.toBe(1);
  await expect(within(Promise.reject(new Error('no')), { clock, timeoutMs: 10 })).rejects.toThrow('no');
  expect(clock.armedTimers).toBe(0);
});

test('within rejects with late() after timeoutMs and with the reason of its signal, leaving nothing', async () => {
  const clock = new FakeClock();
  const late = within(never, { clock, timeoutMs: 10, late: () => new Error('late') });
  const outcome = late.catch((error: unknown) => error);
  await clock.advance(10);
  expect(await outcome).toEqual(new Error('late'));
  const controller = new AbortController();
  const aborted = within(never, { clock, timeoutMs: 10, signal: controller.signal });
  controller.abort('gone');
  await expect(aborted).rejects.toBe('gone');
  await expect(within(never, { clock, timeoutMs: 10, signal: controller.signal })).rejects.toBe('gone');
  expect(clock.armedTimers).toBe(0);
});

test('withDeadline hands its work a signal that aborts in time', async () => {
  const clock = new FakeClock();
  const seen: unknown[] = [];
  const work = (signal: AbortSignal): Promise<never> =>
    new Promise((_, reject) => {
      signal.addEventListener('abort', () => {
        seen.push(signal.reason);
        reject(signal.reason);
      });
    });
  const run = withDeadline({ clock, timeoutMs: 5, late: () => 'late' }, work).catch((error: unknown) => error);
  await clock.advance(5);
  expect(await run).toBe('late');
  expect(seen).toEqual(['late']);
  await expect(withDeadline({ clock, timeoutMs: 5 }, async () => 3)).resolves.toBe(3);
  expect(clock.armedTimers).toBe(0);
});

test('sleep waits its time, and no longer than its signal', async () => {
  const clock = new FakeClock();
  let awake = false;
  const done = sleep(clock, 20).then(() => {
    awake = true;
  });
  await clock.advance(19);
  expect(awake).toBe(false);
  await clock.advance(1);
  await done;
  expect(awake).toBe(true);
  const controller = new AbortController();
  const cut = sleep(clock, 20, { signal: controller.signal });
  controller.abort('up');
  await expect(cut).rejects.toBe('up');
  expect(clock.armedTimers).toBe(0);
});
