import { expect, onTestFinished, test } from 'vitest';
import { Channel } from '../../../src/connection/channel/Channel.js';
import { silentLogger } from '../../../src/core/logger.js';
import { AggregateEndpoint, type AggregateEndpointOptions } from '../../../src/gateway/aggregate/AggregateEndpoint.js';
import { ListFailures } from '../../../src/gateway/aggregate/lists/ListFailures.js';
import { legacyOverModern } from '../../../src/gateway/bridge/LegacyOverModern.js';
import { ModernOverLegacy } from '../../../src/gateway/bridge/ModernOverLegacy.js';
import { CurationTable } from '../../../src/gateway/curation/CurationTable.js';
import type { Downstream } from '../../../src/gateway/endpoint/Endpoint.js';
import { HeldBytes } from '../../../src/gateway/http/HeldBytes.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';
import { countTurns } from '../../support/countTurns.js';
import { FakePool } from '../../support/FakePool.js';
import { ownTasks } from '../../support/ownTasks.js';

/** Long calls that waited for one event, a start or a reload: as many go on in a turn of the event loop as fit into it. */

const CALLS = 12;
const PARAMS_TEXT = `{"name":"x","arguments":{"list":[${'1,'.repeat(1_000_000)}1]},"_meta":{}}`;
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

test.each([
  ['prompts/get', { name: 's__x' }],
  ['resources/read', { uri: 'x:1' }],
  ['completion/complete', { ref: { type: 'ref/prompt', name: 's__x' } }],
])('at /mcp, %s, once the lists of its server are there: they are written anew', async (method, own) => {
  const { note, most } = counted();
  const lists = { prompts: [{ name: 'x' }], resources: [{ name: 'x', uri: 'x:1' }] };
  const pool = new FakePool({ s: { capabilities: { prompts: {}, resources: {} }, lists } });
  const clock = new FakeClock();
  const callers = {
    tasks: ownTasks(),
    failures: new ListFailures(pool, clock),
    isBound: () => false,
    of: () => undefined,
    settled: async () => undefined,
    request: async () => note(),
  };
  const { signal } = new AbortController();
  const bounds = { listTimeoutMs: 1_000, serverWaitMs: 1_000, pageItems: 10, clock, logger: silentLogger, signal };
  const view = new CurationTable().view();
  const options = { ...bounds, ...view, pool, callers, catalog: {}, sessions: () => [], allSessions: () => [] };
  const endpoint = new AggregateEndpoint({
    ...options,
    serverInfo: { name: 'g', version: '1' },
  } as unknown as AggregateEndpointOptions);
  const session = { era: 'legacy', signal } as Downstream;
  const call = { paramsText: PARAMS_TEXT };
  await Promise.all(Array.from({ length: CALLS }, () => endpoint.request(session, method, own, call)));
  expect(most()).toBeLessThan(CALLS / 2);
});

test('of a legacy client to a modern server: they are written anew', async () => {
  const { note, most } = counted();
  const send = async (): Promise<unknown> => {
    note();
    return Buffer.from('{"resultType":"complete","content":[]}');
  };
  const given = { server: 's', session: {} as Downstream, params, call: { paramsText: PARAMS_TEXT } };
  await Promise.all(Array.from({ length: CALLS }, () => legacyOverModern(given, send)));
  expect(most()).toBeLessThan(CALLS / 2);
});
