import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { OptionError } from '../../src/core/errors.js';
import { Gateway } from '../../src/gateway/Gateway.js';
import type { GatewayOptions } from '../../src/gateway/GatewayOptions.js';
import type { EventStore } from '../../src/gateway/http/stream/stored/EventStore.js';
import { MemoryEventStore } from '../../src/gateway/http/stream/stored/MemoryEventStore.js';
import { streamPlaceOf } from '../../src/gateway/http/stream/streamIds.js';
import { UnifiedPool } from '../../src/pool/UnifiedPool.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { closeAfter } from '../support/closeAfter.js';
import { dualEraConfig } from '../support/dualEra.js';
import { FakePool } from '../support/FakePool.js';
import { exchange, RawClient, type Reply } from '../support/httpClient.js';

// Programs start here, and the machine may be busy.
vi.setConfig({ testTimeout: 60_000 });

let pool: UnifiedPool;

beforeAll(async () => {
  // Its timers are of no test: what a test arms itself must be gone at its end.
  pool = new UnifiedPool({ ledger: false, clock: new FakeClock() });
  await pool.startServer(await dualEraConfig('stdio', { era: 'legacy' }));
});

afterAll(() => pool.close());

/** A gateway before the one server of this file. */
async function gateway(options: Partial<GatewayOptions>): Promise<string> {
  const own = closeAfter(new Gateway({ pool, port: 0, ...options }));
  return `${(await own.listen()).url}/servers/dual/mcp`;
}

/** What came of a response before it was cut, at the first text that `until` finds. */
async function readUntil(response: Response, control: AbortController, until: RegExp): Promise<string> {
  const decoder = new TextDecoder();
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  // Its end is this function's doing.
  reader.closed.catch(() => undefined);
  let text = '';
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    text += decoder.decode(next.value, { stream: true });
    if (until.test(text)) break;
  }
  control.abort();
  return text;
}

const idsIn = (text: string): string[] => [...text.matchAll(/^id: (.+)$/gm)].map((hit) => hit[1] as string);

/** Calls a tool that takes `ms`, or longer, waits until its answer is a stream, and loses that stream. */
async function cutCall(client: RawClient, clock: FakeClock, ms: number): Promise<string> {
  const control = new AbortController();
  const params = { name: 'test_slow', arguments: { ms } };
  let response: Response | undefined;
  const fetched = fetch(client.url, {
    method: 'POST',
    signal: control.signal,
    headers: { ...client.headers, 'content-type': 'application/json', accept: 'application/json, text/event-stream' },
    body: JSON.stringify({ jsonrpc: '2.0', id: 77, method: 'tools/call', params }),
  }).then((got) => {
    response = got;
  });
  while (response === undefined) {
    await clock.advance(2_500);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await fetched;
  // On a busy machine it may have been answered before the heartbeat that makes its answer a stream.
  if (!response.headers.get('content-type')?.includes('event-stream')) return cutCall(client, clock, 4 * ms);
  return readUntil(response, control, /data:\n\n/);
}

const resume = (client: RawClient, eventId: string) =>
  exchange(client.url, {
    method: 'GET',
    headers: { ...client.headers, accept: 'text/event-stream', 'last-event-id': eventId },
  });

/** One as the SDK has had it for long: it tells the stream of an event only when it hands over what comes after. */
function plainStore(): EventStore {
  const store = new MemoryEventStore();
  return {
    storeEvent: (stream, message) => store.storeEvent(stream, message),
    replayEventsAfter: (last, options) => store.replayEventsAfter(last, options),
  };
}

const STORES: Readonly<Record<string, () => { readonly eventStore?: EventStore }>> = {
  'in memory': () => ({}),
  'in a store': () => ({ eventStore: new MemoryEventStore() }),
  'in a store without getStreamIdForEventId': () => ({ eventStore: plainStore() }),
};

for (const [name, options] of Object.entries(STORES)) {
  test(`${name}: the answer of a call whose stream was cut comes to the client that resumes it, before it is there and after`, async () => {
    const clock = new FakeClock();
    const path = await gateway({ clock, ...options() });
    const client = new RawClient(path);
    await client.initialize('2025-11-25', {});
    const text = await cutCall(client, clock, 300);
    expect(text).toMatch(/^retry: \d+$/m);
    const [primed = ''] = idsIn(text);
    const resumed = await resume(client, primed);
    expect(resumed.status).toBe(200);
    expect(resumed.messages).toMatchObject([
      { id: 77, result: { content: [{ text: expect.stringMatching(/^after \d+ ms$/) }] } },
    ]);
    const again = await resume(client, primed);
    expect(again.messages).toEqual(resumed.messages);
    const behind = await resume(client, idsIn(resumed.text).at(-1) ?? '');
    expect(behind.messages).toEqual([]);
  });

  test(`${name}: a stream is resumed by its own session alone, and one that is not known is refused`, async () => {
    const clock = new FakeClock();
    const path = await gateway({ clock, ...options() });
    const [client, other] = [new RawClient(path), new RawClient(path)];
    await Promise.all([client.initialize('2025-11-25', {}), other.initialize('2025-11-25', {})]);
    const [primed = ''] = idsIn(await cutCall(client, clock, 100));
    expect((await resume(other, primed)).status).toBe(400);
    expect((await resume(client, 'c999_1')).status).toBe(400);
    expect((await resume(client, '__proto__')).status).toBe(400);
    expect((await resume(client, primed)).messages).toHaveLength(1);
  });

  test(`${name}: what a session missed of its own stream comes when it is resumed`, async () => {
    const path = await gateway(options());
    const client = new RawClient(path);
    await client.initialize('2025-11-25', {});
    const open = async (headers: object, until: RegExp): Promise<string> => {
      const control = new AbortController();
      const all = { ...client.headers, accept: 'text/event-stream', ...headers };
      return readUntil(await fetch(path, { headers: all, signal: control.signal }), control, until);
    };
    const change = (kind: string) => client.call('tools/call', { name: `test_trigger_${kind}_change`, arguments: {} });
    const first = open({}, /list_changed/);
    // The stream may not be open yet when the first change is told.
    const again = setInterval(() => void change('tool'), 50);
    const seen = await first.finally(() => clearInterval(again));
    await change('prompt');
    // The server tells of it in its own time.
    const missed = await open({ 'last-event-id': idsIn(seen).at(-1) }, /prompts.list_changed/);
    expect(missed).toContain('notifications/prompts/list_changed');
  });
}

test('the id of a stream names a call by an id of JSON-RPC, or is none', () => {
  const placeOf = (callId: string) => streamPlaceOf(`c1.deadbeef.${Buffer.from(callId, 'latin1').toString('hex')}`);
  for (const callId of ['7', '"a"', '-1.5']) expect(placeOf(callId)).toMatchObject({ replica: 'deadbeef', callId });
  for (const callId of ['\u00ff', '},"method":"x"', '{}', 'null', '1\n', '"a', '1,"x":1']) {
    expect([callId, placeOf(callId)]).toEqual([callId, undefined]);
  }
});

test('a store that fails, hangs or gives bad ids costs no client a message, and an answer waits for its client', async () => {
  const clock = new FakeClock();
  let broken: (() => Promise<string>) | undefined;
  const store = new MemoryEventStore();
  const eventStore: EventStore = {
    storeEvent: (stream, message) => broken?.() ?? store.storeEvent(stream, message),
    getStreamIdForEventId: (id) => store.getStreamIdForEventId(id),
    replayEventsAfter: (last, options) => store.replayEventsAfter(last, options),
  };
  const own = closeAfter(new Gateway({ pool, port: 0, clock, eventStore, sessionIdleMs: Number.POSITIVE_INFINITY }));
  const client = new RawClient(`${(await own.listen()).url}/servers/dual/mcp`);
  await client.initialize('2025-11-25', {});
  const [primed = ''] = idsIn(await cutCall(client, clock, 300));
  // What is written before the stream is seen to be lost is lost with it: the answer may come in the same turn of a busy machine.
  const lost = expect.poll(() => own.stats.inFlight).toBe(0);
  broken = () => lost.then(() => Promise.reject(new Error('the disk is full')));
  const resumed = await resume(client, primed);
  expect(resumed.messages).toMatchObject([{ id: 77 }]);
  for (const ill of [
    () => Promise.reject(new Error('the disk is full')),
    () => Promise.resolve('1\ndata: {}\n\n'),
    () => {
      throw new Error('at once');
    },
    () => new Promise(() => undefined),
  ]) {
    broken = ill as () => Promise<string>;
    const params = { name: 'test_tool_with_progress', arguments: {}, _meta: { progressToken: 'p' } };
    let reply: Reply | undefined;
    const sent = client.send({ jsonrpc: '2.0', id: 5, method: 'tools/call', params }).then((got) => {
      reply = got;
    });
    while (reply === undefined) {
      // For the one that does not answer at all.
      await clock.advance(5_000);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await sent;
    expect(reply.messages.filter(({ method }) => method === 'notifications/progress')).toHaveLength(3);
    expect(reply.messages.at(-1)).toMatchObject({ id: 5, result: {} });
    expect(idsIn(reply.text)).toEqual([]);
  }
});

test('a store in memory keeps the newest within its bounds; one that is none is refused', async () => {
  const store = new MemoryEventStore({ maxBytes: 40, maxEvents: 3 });
  const ids = [];
  for (const text of ['a', 'b', 'c', 'd']) ids.push(await store.storeEvent(text === 'b' ? 's' : 't', { text }));
  expect(store.stats).toEqual({ events: 3, bytes: 36 });
  const seen: unknown[] = [];
  const send = async (_: string, message: unknown) => void seen.push(message);
  expect(await store.replayEventsAfter(ids[2] ?? '', { send })).toBe('t');
  expect(seen).toEqual([{ text: 'd' }]);
  await expect(store.replayEventsAfter(ids[0] ?? '', { send })).rejects.toThrow('not here any more');
  await store.storeEvent('t', { text: 'x'.repeat(100) });
  expect(store.stats.events).toBe(1);
  expect(() => new Gateway({ pool: new FakePool({}), eventStore: {} as EventStore })).toThrow(OptionError);
  expect(() => new MemoryEventStore({ maxBytes: 0 })).toThrow(OptionError);
});
