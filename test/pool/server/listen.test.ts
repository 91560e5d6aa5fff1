import { expect, test } from 'vitest';
import type { Connection, OpenListen } from '../../../src/connection/Connection.js';
import { rawPool } from '../../support/httpPool.js';
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
    filter: {},
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
    info: { ...inner.info, era: 'modern', capabilities: { tools: { listChanged: true } } },
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

test('a subscription to a modern server that offers none fails at once by its capabilities, and it is not asked', async () => {
  const streams: ReturnType<typeof openListen>[] = [];
  const { pool } = memoryPool({ wrapConnection: (inner) => modern(inner, streams) });
  pool.addServer(MEMORY);
  const onNotification = (): void => undefined;
  await expect(
    pool.subscribe('s', { promptsListChanged: true, resourceUris: ['file:///a'] }, { onNotification }),
  ).rejects.toMatchObject({
    code: 'ERR_OPTION',
    message: expect.stringContaining('none of prompts.listChanged, resources.subscribe'),
  });
  expect(streams).toHaveLength(0);
  // One that is offered is enough: the server says itself what it agrees to.
  await pool.subscribe('s', { promptsListChanged: true, toolsListChanged: true }, { onNotification });
  expect(streams).toHaveLength(1);
});

test('over HTTP the same: a server that would never answer a listen is not waited for', async () => {
  const { server, pool } = await rawPool(
    { era: 'modern', before: ({ message }) => message?.method === 'subscriptions/listen' },
    {},
    { era: 'modern' },
  );
  const given = { resourceUris: ['file:///a'] };
  await expect(pool.subscribe('raw', given, { onNotification: () => undefined })).rejects.toMatchObject({
    code: 'ERR_OPTION',
    message: expect.stringContaining('resources.subscribe'),
  });
  expect(server.of('subscriptions/listen')).toHaveLength(0);
  expect(pool.stats('raw').inFlight).toBe(0);
});
