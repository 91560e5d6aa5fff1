import { expect, test } from 'vitest';
import type { Connection } from '../../src/concurrent/cluster/redisConnection.js';
import { ScriptTimes } from '../../src/concurrent/cluster/ScriptTimes.js';
import { FakeClock } from '../../src/testing/FakeClock.js';

test('a store that says again and again that it does not know the limit is noticed, one that loses it now and then is not', async () => {
  const clock = new FakeClock();
  let says = 'SETTINGS_KEY_NOT_FOUND';
  const client = {
    sendCommand: async () => {
      throw new Error(says);
    },
  } as unknown as Connection;
  let floods = 0;
  let looks = 0;
  const looked = (): void => void looks++;
  new ScriptTimes(client, clock, looked, () => floods++);
  const send = async (count: number): Promise<void> => {
    const answers = Array.from({ length: count }, () => client.sendCommand({ name: 'evalsha' }) as Promise<unknown>);
    await Promise.allSettled(answers);
  };
  for (let second = 0; second < 5; second++) {
    await send(499);
    await clock.advance(1_000);
  }
  expect(floods).toBe(0);
  expect(looks).toBe(5 * 499);
  says = 'ERR another';
  await send(600);
  expect(floods).toBe(0);
  says = 'ERR UNKNOWN_CLIENT';
  await send(2_000);
  expect(floods).toBe(1);
});
