import { expect, test, vi } from 'vitest';
import type { Connection, OpenListen } from '../../../src/connection/Connection.js';
import type { ServerNotice } from '../../../src/connection/protocol/messages.js';
import type { Subscription } from '../../../src/pool/McpPool.js';
import { fakeServer } from '../../../src/testing/fake/FakeServer.js';
import { closeAfter } from '../../support/closeAfter.js';
import { httpPool, rawPool } from '../../support/httpPool.js';
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

test('a stream that breaks again and again is opened more and more rarely', async () => {
  // No jitter.
  const random = vi.spyOn(Math, 'random').mockReturnValue(0);
  const streams: ReturnType<typeof openListen>[] = [];
  const { pool, clock } = memoryPool({ wrapConnection: (inner) => modern(inner, streams) });
  pool.addServer(MEMORY);
  const subscription = await pool.subscribe('s', { toolsListChanged: true }, { onNotification: () => undefined });
  const opened: number[] = [];
  for (let times = 0; times < 60; times++) {
    streams.at(-1)?.end('cut');
    await clock.advance(500);
    if (streams.length > opened.length + 1) opened.push(clock.now());
    await clock.advance(500);
    if (streams.length > opened.length + 1) opened.push(clock.now());
  }
  expect(opened.map((ms) => Math.round((ms - (opened[0] ?? 0)) / 1_000))).toEqual([0, 2, 6, 14, 30]);
  await subscription.close();
  random.mockRestore();
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

test('a notification is looked up, however many subscriptions there are', async () => {
  let tell!: (notice: ServerNotice) => void;
  const tapped = (inner: Connection): Connection =>
    new Proxy(inner, {
      get: (target, key) => {
        const value: unknown = Reflect.get(target, key, target);
        if (key === 'onNotification') {
          return (listener: typeof tell) => {
            tell = listener;
            return target.onNotification(listener);
          };
        }
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  const { pool } = memoryPool({ wrapConnection: tapped });
  pool.addServer(MEMORY);
  const heard: unknown[] = [];
  const onNotification = ({ params }: ServerNotice): void => void heard.push(params?.['uri']);
  const all = await Promise.all(
    Array.from({ length: 200 }, (_, i) =>
      pool.subscribe('s', { resourceUris: [`x:${i}`, 'x:all'] }, { onNotification }),
    ),
  );
  // Each subscription that is looked at would ask for the method anew.
  let looks = 0;
  const update = (uri: string) => ({
    get method() {
      looks++;
      return 'notifications/resources/updated';
    },
    params: { uri },
  });
  tell(update('x:none'));
  tell(update('x:7'));
  expect(heard).toEqual(['x:7']);
  expect(looks).toBeLessThan(20);
  tell(update('x:all'));
  expect(heard).toHaveLength(201);
  await Promise.all(all.slice(1).map((each) => each.close()));
  tell(update('x:all'));
  tell(update('x:7'));
  tell(update('x:0'));
  expect(heard.slice(201)).toEqual(['x:all', 'x:0']);
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

test('a filter with a member that there is none of is refused: nothing would be heard of it', async () => {
  const pool = httpPool();
  pool.addServer({ name: 's', transport: 'http', url: 'http://127.0.0.1:9/mcp' });
  const given = { resourceSubscriptions: ['file:///a'] } as object;
  await expect(pool.subscribe('s', given, { onNotification: () => undefined })).rejects.toMatchObject({
    code: 'ERR_OPTION',
    message: expect.stringContaining('resourceUris'),
  });
});

test('a subscriber that leaves before its server has agreed leaves no stream', async () => {
  let opened = 0;
  let streams = 0;
  const fake = closeAfter(fakeServer({ era: 'modern', capabilities: { tools: { listChanged: true } } }));
  const { url } = await fake.listen({
    intercept: ({ message, res }) => {
      if (message?.method !== 'subscriptions/listen') return false;
      opened++;
      streams++;
      res.on('close', () => streams--);
      res.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
      return true;
    },
  });
  const pool = httpPool();
  pool.addServer({ name: 's', transport: 'http', url, era: 'modern' });
  const leaving = new AbortController();
  const { signal } = leaving;
  const subscribed = pool.subscribe('s', { toolsListChanged: true }, { signal, onNotification: () => undefined });
  const failed = expect(subscribed).rejects.toThrow('left');
  await expect.poll(() => opened).toBe(1);
  leaving.abort(new Error('left'));
  await failed;
  await expect.poll(() => streams).toBe(0);
});

test('subscriptions of one caller do not take all the sockets that they may have', async () => {
  const fake = closeAfter(fakeServer({ era: 'modern' }));
  const { url } = await fake.listen();
  const pool = httpPool({ maxSubscriptionStreams: 8 });
  pool.addServer({ name: 's', transport: 'http', url, era: 'modern' });
  const subscribe = (principal: string): Promise<Subscription> =>
    pool.subscribe('s', { toolsListChanged: true }, { caller: { principal }, onNotification: () => undefined });
  const [first] = await Promise.all(Array.from({ length: 6 }, () => subscribe('a')));
  await expect(subscribe('a')).rejects.toMatchObject({ code: 'ERR_QUEUE_FULL' });
  await subscribe('b');
  await first?.close();
  await subscribe('a');
});
