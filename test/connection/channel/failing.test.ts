import { expect, test } from 'vitest';
import { Channel } from '../../../src/connection/channel/Channel.js';
import { silentLogger } from '../../../src/core/logger.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';
import { countTurns } from '../../support/countTurns.js';

test('of thousands of calls that fail at one instant the callers hear in turns of the event loop, each the truth', async () => {
  const clock = new FakeClock();
  const channel: Channel = new Channel(
    {
      // Every second one waits.
      send: (call) => void (call.id % 2 === 0 && channel.markSent(call, clock.now())),
      post: () => undefined,
    },
    {
      server: 's',
      clock,
      logger: silentLogger,
      maxMessageBytes: 10_000,
      timeoutMs: 100,
      acquireTimeoutMs: 100,
      maxTotalTimeoutMs: 100,
    },
  );
  const calls = Array.from({ length: 2_000 }, () => channel.request('tools/call', {}, {}));
  const told = new Map<number, number>();
  using turns = countTurns();
  const codes = calls.map((call) =>
    call.catch((error: { readonly code: string }) => {
      told.set(turns.count, (told.get(turns.count) ?? 0) + 1);
      return error.code;
    }),
  );
  channel.fail('it exited');
  // None is sent any more, or times out.
  expect(channel.inFlight).toBe(0);
  await clock.advance(200);
  const counted = new Map<unknown, number>();
  for (const code of await Promise.all(codes)) counted.set(code, (counted.get(code) ?? 0) + 1);
  expect(Object.fromEntries(counted)).toEqual({ ERR_OUTCOME_UNKNOWN: 1_000, ERR_NOT_SENT: 1_000 });
  expect(Math.max(...told.values())).toBeLessThan(500);
});
