import { expect, test } from 'vitest';
import type { Connection, OpenListen } from '../../../src/connection/Connection.js';
import { MEMORY, memoryPool } from '../../support/memoryPool.js';

/** One listen that a test ends as it likes. */
function openListen(): OpenListen & { end(how: 'finished' | 'cut'): void } {
  let endedBy: OpenListen['endedBy'];
  let resolve!: () => void;
  const ended = new Promise<void>((done) => {
    resolve = done;
  });
  const end = (how: NonNullable<OpenListen['endedBy']>): void => {
    endedBy = how;
    resolve();
  };
  return {
    ended,
    get endedBy() {
      return endedBy;
    },
    close: async () => end('closed'),
    end,
  };
}

/** The same connection, as a server of the modern era whose every `listen` is kept. */
function modern(inner: Connection, streams: ReturnType<typeof openListen>[]): Connection {
  return {
    server: inner.server,
    info: { ...inner.info, era: 'modern' },
    pid: inner.pid,
    startedAt: inner.startedAt,
    get alive() {
      return inner.alive;
    },
    get counters() {
      return inner.counters;
    },
    get inFlight() {
      return inner.inFlight;
    },
    get unsentBytes() {
      return inner.unsentBytes;
    },
    request: (method, params, options) => inner.request(method, params, options),
    notify: (method, params) => inner.notify(method, params),
    onClose: (listener) => inner.onClose(listener),
    onNotification: (listener) => inner.onNotification(listener),
    setRequestHandler: (handler) => inner.setRequestHandler(handler),
    close: (options) => inner.close(options),
    listen: async () => {
      const stream = openListen();
      streams.push(stream);
      return stream;
    },
  };
}

test('a modern subscription whose stream broke is opened again on the living connection; one that the server ended is over', async () => {
  const streams: ReturnType<typeof openListen>[] = [];
  const { pool, clock } = memoryPool({ wrapConnection: (inner) => modern(inner, streams) });
  pool.addServer(MEMORY);
  const subscription = await pool.subscribe('s', { toolsListChanged: true }, { onNotification: () => undefined });
  let over = false;
  void subscription.ended.then(() => {
    over = true;
  });
  streams[0]?.end('cut');
  await clock.advance(5_000);
  expect([streams.length, over]).toEqual([2, false]);
  streams[1]?.end('finished');
  await clock.advance(5_000);
  expect([streams.length, over]).toEqual([2, true]);
});

test('a broken stream is not opened again for a subscription that was closed meanwhile', async () => {
  const streams: ReturnType<typeof openListen>[] = [];
  const { pool, clock } = memoryPool({ wrapConnection: (inner) => modern(inner, streams) });
  pool.addServer(MEMORY);
  const subscription = await pool.subscribe('s', { toolsListChanged: true }, { onNotification: () => undefined });
  streams[0]?.end('cut');
  await clock.advance(0);
  await subscription.close();
  await clock.advance(5_000);
  expect(streams.length).toBe(1);
});
