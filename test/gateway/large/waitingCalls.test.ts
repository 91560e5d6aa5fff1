import { expect, onTestFinished, test } from 'vitest';
import { Channel } from '../../../src/connection/channel/Channel.js';
import { silentLogger } from '../../../src/core/logger.js';
import { ModernOverLegacy } from '../../../src/gateway/bridge/ModernOverLegacy.js';
import { HeldBytes } from '../../../src/gateway/http/HeldBytes.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';
import { countTurns } from '../../support/countTurns.js';

/** Long calls that waited for one event, a start or a reload: as many go on in a turn of the event loop as fit into it. */

const CALLS = 24;
const PARAMS_TEXT = `{"name":"x","arguments":{"list":[${'1,'.repeat(300_000)}1]},"_meta":{}}`;
const params = { name: 'x', _meta: {} };

/** Counts what is called, by turn: the most in one. */
function counted(): { readonly note: () => void; readonly most: () => number } {
  const turns = countTurns();
  onTestFinished(() => turns[Symbol.dispose]());
  const begun = new Map<number, number>();
  return {
    note: () => void begun.set(turns.count, (begun.get(turns.count) ?? 0) + 1),
    most: () => {
      expect([...begun.values()].reduce((sum, each) => sum + each)).toBe(CALLS);
      return Math.max(...begun.values());
    },
  };
}

test('of a modern client to a legacy server: they are written anew', async () => {
  const { note, most } = counted();
  const bridge = new ModernOverLegacy(new FakeClock(), new HeldBytes(2 ** 30), () => undefined);
  const send = async (): Promise<unknown> => {
    note();
    return { content: [] };
  };
  const call = { client: { capabilities: {} }, paramsText: PARAMS_TEXT };
  const given = { server: 's', method: 'tools/call', params, call, owner: 'a', send };
  await Promise.all(Array.from({ length: CALLS }, () => bridge.request(given)));
  expect(most()).toBeLessThan(CALLS / 2);
});

test('to any server whose messages say more than the call: they are gone through once more', async () => {
  const { note, most } = counted();
  const clock = new FakeClock();
  const channel: Channel = new Channel(
    {
      send: (call) => {
        note();
        channel.markSent(call, clock.now());
        channel.failCall(call, new Error('enough'));
      },
      post: () => undefined,
    },
    {
      server: 's',
      clock,
      logger: silentLogger,
      maxMessageBytes: 2 ** 24,
      timeoutMs: 100,
      acquireTimeoutMs: 100,
      maxTotalTimeoutMs: 100,
    },
  );
  channel.envelope = () => ({ more: 1 });
  const call = { paramsText: PARAMS_TEXT };
  const all = Array.from({ length: CALLS }, () => channel.request('tools/call', params, call));
  for (const { status } of await Promise.allSettled(all)) expect(status).toBe('rejected');
  expect(most()).toBeLessThan(CALLS / 2);
  channel.fail('the end');
});
