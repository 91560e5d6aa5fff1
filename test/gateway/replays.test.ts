import { createServer, get, type ServerResponse } from 'node:http';
import { expect, test } from 'vitest';
import { systemClock } from '../../src/core/clock.js';
import { silentLogger } from '../../src/core/logger.js';
import { HeldBytes } from '../../src/gateway/http/HeldBytes.js';
import { Resumable } from '../../src/gateway/http/stream/Resumable.js';
import type { EventStore } from '../../src/gateway/http/stream/stored/EventStore.js';
import { MemoryEventStore } from '../../src/gateway/http/stream/stored/MemoryEventStore.js';
import { StoredStream } from '../../src/gateway/http/stream/stored/StoredStream.js';
import { callStreamId } from '../../src/gateway/http/stream/streamIds.js';
import { closeAfter } from '../support/closeAfter.js';
import { countTurns } from '../support/countTurns.js';

/** What a store, or the memory, replays for clients that come back, as often as they like. */

const EVENTS = 100;

/** A store of one stream; it counts what is asked of it. */
class Store implements EventStore {
  replays = 0;
  running = 0;
  most = 0;
  sent = 0;

  async storeEvent(): Promise<string> {
    return '1';
  }

  async replayEventsAfter(
    _last: string,
    { send }: { readonly send: (id: string, message: unknown) => Promise<void> },
  ): Promise<string> {
    this.replays++;
    this.most = Math.max(this.most, ++this.running);
    try {
      for (let event = 1; event <= EVENTS; event++) {
        this.sent++;
        await send(String(event), { jsonrpc: '2.0', method: 'notifications/message', params: { event } });
        if (event % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      return 'stream';
    } finally {
      this.running--;
    }
  }
}

const streamOf = (store: EventStore, id: string, owner: string, held = new HeldBytes(1e8)): StoredStream =>
  new StoredStream({
    id,
    storedAs: id,
    store,
    bounds: { held, maxStreamBufferBytes: 1e6, stallTimeoutMs: 30_000 },
    owner,
    primed: false,
    clock: systemClock,
    logger: silentLogger,
  });

/** Serves them by path; each is over: who comes back gets its events and an end. */
async function serve(streams: ReadonlyMap<string, StoredStream>): Promise<number> {
  for (const stream of streams.values()) stream.end();
  const server = createServer((request, response) => streams.get(request.url ?? '')?.resume(response, '0', {}));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closeAfter({ close: async () => void server.close().closeAllConnections() });
  return (server.address() as { port: number }).port;
}

/** The events that a client gets on a connection of its own. */
const resume = (port: number, path: string): Promise<number> =>
  new Promise((resolve) => {
    let text = '';
    get({ host: '127.0.0.1', port, path, agent: false }, (response) => {
      const done = (): void => resolve(text.match(/^id: /gm)?.length ?? 0);
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', done).on('error', done);
    }).on('error', () => resolve(0));
  });

test('a client that comes back on many connections is replayed what it missed on the last one, and no more', async () => {
  const store = new Store();
  const port = await serve(new Map([['/one', streamOf(store, 'one', 'a')]]));
  const all = await Promise.all(Array.from({ length: 40 }, () => resume(port, '/one')));
  expect(Math.max(...all)).toBe(EVENTS);
  expect(store.sent).toBeLessThan(20 * EVENTS);
  expect(await resume(port, '/one')).toBe(EVENTS);
});

test('a few replays run at once', async () => {
  const store = new Store();
  const streams = new Map(
    Array.from({ length: 30 }, (_, at) => [`/${at}`, streamOf(store, String(at), at === 29 ? 'few' : 'many')]),
  );
  const port = await serve(streams);
  const got = await Promise.all([...streams.keys()].map((path) => resume(port, path)));
  expect(new Set(got)).toEqual(new Set([EVENTS]));
  expect(store.replays).toBe(30);
  expect(store.most).toBeLessThanOrEqual(4);
});

/** To write an event takes 3 ms. */
class Slow extends HeldBytes {
  override hasRoomFor(...of: Parameters<HeldBytes['hasRoomFor']>): boolean {
    for (const untilMs = performance.now() + 3; performance.now() < untilMs; );
    return super.hasRoomFor(...of);
  }
}

/** Its replays take so many turns of the event loop. */
class Turned extends MemoryEventStore {
  turns = 0;

  override async replayEventsAfter(...[last, to]: Parameters<MemoryEventStore['replayEventsAfter']>): Promise<string> {
    using turns = countTurns();
    const stream = await super.replayEventsAfter(last, to);
    this.turns = turns.count;
    return stream;
  }
}

test.each(['as texts', 'as messages'])(
  'what a store hands over %s is written in turns of the event loop',
  async (how) => {
    const store = new Turned();
    const first = await store.storeEvent('one', {});
    for (let event = 0; event < EVENTS; event++) {
      await store.storeEvent('another', { event });
      await store.storeEvent('one', { event });
    }
    const asIs: EventStore = {
      storeEvent: () => Promise.resolve('1'),
      replayEventsAfter: (_, { send, sendText }) =>
        store.replayEventsAfter(first, { send, ...(how === 'as texts' && sendText && { sendText }) }),
    };
    const port = await serve(new Map([['/one', streamOf(asIs, 'one', 'a', new Slow(1e8))]]));
    expect(await resume(port, '/one')).toBe(EVENTS);
    expect(store.turns).toBeGreaterThan(EVENTS / 5);
  },
);

/** A stream that is kept in memory; it counts its replays, and those of each turn of the event loop. */
class Kept extends Resumable {
  replays = 0;
  mostInTurn = 0;
  #inTurn = 0;

  constructor(id: string, events: number) {
    super(id, {
      bounds: { held: new HeldBytes(1e8), maxStreamBufferBytes: 1e6, stallTimeoutMs: 30_000 },
      owner: 'a',
      primed: false,
      onEnd: () => undefined,
      onGiveWay: () => undefined,
    });
    for (let event = 1; event <= events; event++)
      this.offer(`{"jsonrpc":"2.0","method":"x","params":{"event":${event}}}`);
  }

  override attach(response: ServerResponse, headers?: Readonly<Record<string, string>>): void {
    super.attach(response, headers);
    this.replays++;
    if (this.#inTurn === 0) setImmediate(() => (this.#inTurn = 0));
    this.mostInTurn = Math.max(this.mostInTurn, ++this.#inTurn);
  }
}

/** Has so many clients come back at one instant, by `resume`; what each gets. */
async function cameBack(clients: number, resume: (response: ServerResponse, at: number) => void): Promise<string[]> {
  const arrived: ServerResponse[] = [];
  const server = createServer((_request, response) => {
    if (arrived.push(response) === clients) arrived.forEach(resume);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closeAfter({ close: async () => void server.close().closeAllConnections() });
  const { port } = server.address() as { port: number };
  const one = (): Promise<string> =>
    new Promise((resolve, reject) => {
      let text = '';
      get({ host: '127.0.0.1', port, agent: false }, (response) => {
        response.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk;
        });
        response.on('end', () => resolve(text)).on('error', reject);
      }).on('error', reject);
    });
  return Promise.all(Array.from({ length: clients }, one));
}

test('of many connections for one stream in memory the newest is replayed it, and the others end', async () => {
  const stream = new Kept('one', 600);
  stream.end();
  const got = await cameBack(30, (response) => void stream.resume(response, 0, {}));
  expect(got.filter((text) => text.includes('id: one_600\n'))).toHaveLength(1);
  expect(stream.replays).toBe(1);
});

test('long replays from memory take turns, and short ones wait for none', async () => {
  const clients = 30;
  // Each client has a stream of its own, of which one counts all.
  const count = new Kept('count', 0);
  const streams = Array.from({ length: clients }, (_, at) => new Kept(`s${at}`, 600));
  for (const stream of streams) {
    stream.end();
    const { attach } = Kept.prototype;
    stream.attach = (response, headers) => {
      attach.call(stream, response, headers);
      count.attach({ destroyed: true } as ServerResponse);
    };
  }
  const got = await cameBack(clients, (response, at) => void streams[at]?.resume(response, 0, {}));
  for (const [at, text] of got.entries()) expect(text).toContain(`id: s${at}_600\n`);
  expect(count.replays).toBe(clients);
  expect(count.mostInTurn).toBeLessThanOrEqual(4);
  const short = new Kept('short', 600);
  short.end();
  await cameBack(1, (response) => {
    expect(short.resume(response, 590, {})).toBeUndefined();
    expect(short.replays).toBe(1);
  });
});

test('what is said while a replay waits for its turn comes behind it', async () => {
  const open = new Kept('open', 600);
  const [before, text = ''] = await cameBack(2, (response, at) => {
    if (at === 0) return open.attach(response);
    open.resume(response, 0, {});
    expect(open.offer('{"event":601}')).toBe(false);
    open.send('{"answer":1}');
    open.end();
  });
  expect(before).toBe('');
  expect([...text.matchAll(/^id: open_(\d+)$/gm)].map(([, seq]) => Number(seq))).toEqual(
    Array.from({ length: 602 }, (_, at) => at + 1),
  );
});

test('a store that takes texts is given messages as they were sent; another none that takes long to be parsed', async () => {
  const sent = `{"jsonrpc":"2.0","id":1,"result":{"n":[1.0,${'9007199254740993,'.repeat(200_000)}0]}}`;
  const texts: string[] = [];
  const storeText = async (_: string, text: string): Promise<string> => `${texts.push(text)}`;
  const messages: unknown[] = [];
  const storeEvent = async (_: string, message: unknown): Promise<string> => `${messages.push(message)}`;
  const replayEventsAfter = (): Promise<string> => Promise.resolve('one');
  for (const store of [
    { storeEvent, replayEventsAfter, storeText },
    { storeEvent, replayEventsAfter },
  ]) {
    const stream = streamOf(store, 'one', 'a');
    stream.send(sent);
    stream.send('{"n":1.0}');
    await expect.poll(() => [texts.length, messages.length]).toEqual([2, 'storeText' in store ? 0 : 1]);
    stream.forget();
  }
  expect(texts).toEqual([sent, '{"n":1.0}']);
  expect(messages).toEqual([{ n: 1 }]);
  const kept = new MemoryEventStore();
  const first = await kept.storeEvent('one', {});
  await kept.storeText('one', '{"n":1.0}');
  const told: string[] = [];
  await kept.replayEventsAfter(first, {
    send: () => Promise.reject(new Error('it has the text')),
    sendText: async (_, text) => void told.push(text),
  });
  expect(told).toEqual(['{"n":1.0}']);
});

test('what only looks like an answer does not stand for one that the store has lost', async () => {
  const like = { jsonrpc: '2.0', method: 'notifications/x', result: {} };
  let stored = 2;
  const store: EventStore = {
    storeEvent: async () => `${stored++}`,
    replayEventsAfter: async (_, { send }) => {
      await send('1', like);
      return 'one';
    },
  };
  const stream = streamOf(store, callStreamId(1, '00000000', '7'), 'a');
  stream.send('{"jsonrpc":"2.0","id":7,"result":{}}');
  stream.end();
  const [text] = await cameBack(1, (response) => stream.resume(response, '0', {}));
  const said = [...(text ?? '').matchAll(/^data: (.+)$/gm)].map(([, json = '']) => JSON.parse(json));
  expect(said).toEqual([like, { jsonrpc: '2.0', id: 7, error: expect.objectContaining({ code: -32_603 }) }]);
});
