import { expect, test } from 'vitest';
import { Channel } from '../../../src/connection/channel/Channel.js';
import { silentLogger } from '../../../src/core/logger.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';
import { fakeServer } from '../../../src/testing/fake/FakeServer.js';
import { closeAfter } from '../../support/closeAfter.js';
import { countTurns } from '../../support/countTurns.js';
import { openHttp } from '../../support/httpServers.js';
import { echoArgs, open } from '../../support/stdioConnection.js';

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
  const idle = channel.idle();
  expect(channel.inFlight).toBe(0);
  await clock.advance(200);
  await idle;
  expect([...told.values()].reduce((all, each) => all + each)).toBe(calls.length);
  const counted = new Map<unknown, number>();
  for (const code of await Promise.all(codes)) counted.set(code, (counted.get(code) ?? 0) + 1);
  expect(Object.fromEntries(counted)).toEqual({ ERR_OUTCOME_UNKNOWN: 1_000, ERR_NOT_SENT: 1_000 });
  expect(Math.max(...told.values())).toBeLessThan(500);
});

test.each(['stdio', 'http'])(
  'a connection is not closed before the callers of all its calls have heard (%s)',
  async (wire) => {
    const fake = closeAfter(fakeServer({ era: 'legacy' }));
    const { url } = await fake.listen({
      intercept: ({ message }) => (message?.params as { readonly name?: string } | undefined)?.name === 'sleep',
    });
    const connection = wire === 'http' ? await openHttp(url) : await open(echoArgs());
    // Callers hear in groups of 128: of so many in several turns.
    let waiting = 1_000;
    const asked = Array.from({ length: waiting }, () =>
      connection
        .request('tools/call', { name: 'sleep', arguments: { ms: 60_000 } }, {})
        .catch((error: { readonly code: string }) => error.code)
        .finally(() => waiting--),
    );
    await connection.close({ graceMs: 0 });
    expect(waiting).toBe(0);
    expect(await Promise.all(asked)).not.toContain(undefined);
  },
);
