import { createServer, get } from 'node:http';
import { expect, test } from 'vitest';
import { systemClock } from '../../src/core/clock.js';
import { silentLogger } from '../../src/core/logger.js';
import { HeldBytes } from '../../src/gateway/http/HeldBytes.js';
import type { EventStore } from '../../src/gateway/http/stream/stored/EventStore.js';
import { StoredStream } from '../../src/gateway/http/stream/stored/StoredStream.js';
import { closeAfter } from '../support/closeAfter.js';

/** What a store replays for clients that come back, as often as they like. */

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

const streamOf = (store: EventStore, id: string, owner: string): StoredStream =>
  new StoredStream({
    id,
    storedAs: id,
    store,
    bounds: { held: new HeldBytes(1e8), maxStreamBufferBytes: 1e6, stallTimeoutMs: 30_000 },
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
