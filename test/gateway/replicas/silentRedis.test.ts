import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import { inspect } from 'node:util';
import { Redis } from 'ioredis';
import { expect, test, vi } from 'vitest';
import { joinRedis } from '../../../src/cli/serving/joinRedis.js';
import { ClusterRateLimiter } from '../../../src/concurrent/cluster/ClusterRateLimiter.js';
import { closed, duplicate } from '../../../src/concurrent/cluster/redisConnection.js';
import { type Logger, silentLogger } from '../../../src/core/logger.js';
import { RedisEventStore } from '../../../src/gateway/replicas/RedisEventStore.js';
import { RedisReplicas } from '../../../src/gateway/replicas/RedisReplicas.js';
import { duplicateOf } from '../../../src/gateway/replicas/redisCommands.js';
import { ShutdownPlan } from '../../../src/shutdown/ShutdownPlan.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';
import { closeAfter } from '../../support/closeAfter.js';
import { HAVE_REDIS, TestRedis } from '../../support/redis.js';

// A store starts here, and the machine may be busy.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

test.skipIf(!HAVE_REDIS)('a store that hangs is waited for once; what is asked meanwhile fails at once', async () => {
  await using server = await TestRedis.start();
  const redis = new Redis({ port: server.port, lazyConnect: true });
  const link = closeAfter(new RedisReplicas({ redis, storeTimeoutMs: 200 }));
  const asked = (): Promise<string> =>
    link.notes('k').then(
      () => 'answered',
      (error: Error) => error.message,
    );
  await expect.poll(asked).toBe('answered');
  process.kill(server.pid, 'SIGSTOP');
  try {
    const together = await Promise.all([asked(), asked(), asked()]);
    expect(together[0]).toBe('Command timed out');
    for (let times = 0; times < 3; times++) expect(await asked()).not.toBe('Command timed out');
  } finally {
    process.kill(server.pid, 'SIGCONT');
  }
  await expect.poll(asked, { timeout: 20_000 }).toBe('answered');
  redis.disconnect();
});

test.skipIf(!HAVE_REDIS)('what is closed while the store is down is closed', async () => {
  const server = await TestRedis.start();
  const redis = new Redis({ port: server.port, lazyConnect: true });
  const parts = [new RedisReplicas({ redis }), new RedisEventStore({ redis })];
  await expect.poll(() => redis.duplicate({ lazyConnect: true }).status).toBe('wait');
  await server[Symbol.asyncDispose]();
  await setImmediate();
  await Promise.all(parts.map((each) => each.close()));
  redis.disconnect();
});

test.each([
  ['nested 20,000 deep', '*1\r\n'.repeat(20_000)],
  ['longer than arrays can be', '*4294967296\r\n'],
])('an answer of a store that is %s ends its connection and nothing else', async (_, answer) => {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (data: Buffer) => socket.write(/hgetall/i.test(data.toString()) ? answer : '+OK\r\n'));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const settings = { port, host: '127.0.0.1', lazyConnect: true, enableReadyCheck: false, disableClientInfo: true };
  const redis = new Redis(settings);
  // Of the replicas and event stores, and of the limits.
  const lasting = duplicateOf(redis, 5_000, false);
  const single = duplicate(redis, 5_000) as ReturnType<typeof duplicate> & Pick<typeof lasting, 'call'>;
  lasting.on('error', () => undefined);
  single.on('error', () => undefined);
  for (const each of [lasting, single]) {
    await expect.poll(() => each.status).toBe('ready');
    await expect(each.call('HGETALL', 'k')).rejects.toThrow();
  }
  await expect.poll(() => single.status).toBe('end');
  await expect.poll(() => lasting.status).toBe('ready');
  expect(String(await lasting.call('GET', 'k'))).toBe('OK');
  await closed(lasting);
  redis.disconnect();
  server.close();
});

test.skipIf(!HAVE_REDIS)('no log line shows the password that a store refuses', async () => {
  await using server = await TestRedis.start();
  const admin = new Redis({ port: server.port });
  await admin.config('SET', 'requirepass', 'right');
  admin.disconnect();
  const told: unknown[] = [];
  const write = (fields: unknown, message?: string): void =>
    void told.push(inspect([fields, message], { depth: 9 }), JSON.stringify([fields, message]));
  const logger: Logger = { trace: write, debug: write, info: write, warn: write, error: write };
  const redis = new Redis({ port: server.port, lazyConnect: true, password: 'a-secret-word' });
  closeAfter(new RedisReplicas({ redis, logger }));
  closeAfter(new RedisEventStore({ redis, logger }));
  closeAfter(new ClusterRateLimiter({ redis, logger, id: 'x', maxRequests: 1, windowMs: 1_000 }));
  for (const part of ['the replicas', 'the event store', 'the limit'])
    await expect.poll(() => told.join('\n')).toContain(part);
  expect(told.join('\n')).not.toContain('a-secret-word');
  redis.disconnect();
});

test.each([
  'redis://:a-secret@127.0.0.1:port',
  'redis://u:a-secret@',
  'redis://:a-secret%zz@127.0.0.1',
  'http://u:a-secret@x',
])('an address that is none is told by its option, without what is in it', async (url) => {
  const error = await joinRedis(url, { plan: new ShutdownPlan(), logger: silentLogger }).catch((each: Error) => each);
  expect((error as Error).message).toBe('--redis: expected an address like redis://host:6379');
});

/** Connections to a store that takes everything and says nothing. */
function silent() {
  const connections: {
    readonly sent: (readonly unknown[])[];
    readonly cut: unknown[];
    status: string;
    emit(event: string): void;
  }[] = [];
  const duplicate = () => {
    const listeners = new Map<string, (() => void)[]>();
    const made = {
      sent: [] as (readonly unknown[])[],
      cut: [] as unknown[],
      status: 'ready',
      emit: (event: string): void => {
        for (const each of listeners.get(event) ?? []) each();
      },
      on: (event: string, listener: () => void) => listeners.set(event, [...(listeners.get(event) ?? []), listener]),
      once: (event: string, listener: () => void) => made.on(event, listener),
      subscribe: async () => 1,
      call: (...command: readonly unknown[]) => {
        made.sent.push(command);
        if (command[0] === 'DEL') return Promise.resolve(1);
        return new Promise<never>(() => undefined);
      },
      disconnect: (again: unknown) => {
        made.cut.push(again);
        made.status = again === true ? 'connecting' : 'end';
        if (again !== true) made.emit('end');
      },
    };
    connections.push(made);
    return made;
  };
  return { redis: { status: 'wait', duplicate }, connections };
}

test('what waits for the store is bounded, whatever clients answer; what the gateway itself tells is always sent', async () => {
  const { redis, connections } = silent();
  const link = closeAfter(new RedisReplicas({ redis, clock: new FakeClock() }));
  const large = 'x'.repeat(7 * 1_024 * 1_024);
  for (let times = 0; times < 20; times++) link.publish(large);
  link.publish('small');
  const published = () =>
    (connections[0]?.sent ?? []).filter(([name]) => name === 'PUBLISH').map(([, , text]) => `${text}`);
  expect(published().map(({ length }) => length > 1_000)).toEqual([true, true, true, true, false]);
  // However small they are: many of them are much, too.
  for (let times = 0; times < 20_000; times++) link.publish('answer', true);
  const room = 32 * 1_024 * 1_024 - 4 * (large.length + 512) - 517;
  expect(published().slice(5)).toHaveLength(Math.floor(room / 518));
});

test('a note and when it expires go out in one step: no cut comes between', () => {
  const { redis, connections } = silent();
  const link = closeAfter(new RedisReplicas({ redis, clock: new FakeClock() }));
  void link.note('session', 'level', 'debug', 1_234);
  const sent = (connections[0]?.sent ?? []).filter((command) => command.includes('debug'));
  expect(sent).toEqual([expect.arrayContaining(['level', 1_234])]);
});

test('a subscription that was cut without a word is found, and made anew', async () => {
  const { redis, connections } = silent();
  const clock = new FakeClock();
  const link = closeAfter(new RedisReplicas({ redis, clock, aliveMs: 3_000, storeTimeoutMs: 500 }));
  let gaps = 0;
  link.listen(
    () => undefined,
    () => gaps++,
  );
  const subscriber = connections[1];
  subscriber?.emit('ready');
  await clock.advance(1_000);
  expect(subscriber?.sent).toEqual([['PING']]);
  expect(subscriber?.cut).toEqual([]);
  await clock.advance(500);
  await expect.poll(() => subscriber?.cut).toEqual([true]);
  subscriber?.emit('ready');
  expect(gaps).toBe(1);
});

test('a subscription that comes back by itself is not cut for what its last connection left unanswered', async () => {
  const { redis, connections } = silent();
  const clock = new FakeClock();
  closeAfter(new RedisReplicas({ redis, clock, aliveMs: 3_000, storeTimeoutMs: 500 }));
  const subscriber = connections[1];
  subscriber?.emit('ready');
  await clock.advance(1_000);
  expect(subscriber?.sent).toEqual([['PING']]);
  // The connection died with the PING in it, and there is another.
  subscriber?.emit('ready');
  await clock.advance(500);
  await setImmediate();
  await setImmediate();
  expect(subscriber?.cut).toEqual([]);
  // That one is asked in its turn.
  await clock.advance(500);
  expect(subscriber?.sent).toHaveLength(2);
  await clock.advance(500);
  await expect.poll(() => subscriber?.cut).toEqual([true]);
});

test('a subscriber whose server never says that it is ready is connected anew: after a failover another may answer', async () => {
  const { redis, connections } = silent();
  const clock = new FakeClock();
  closeAfter(new RedisReplicas({ redis, clock, aliveMs: 3_000, storeTimeoutMs: 1_500 }));
  const subscriber = connections[1];
  if (subscriber !== undefined) subscriber.status = 'connect';
  await clock.advance(2_000);
  expect(subscriber?.cut).toEqual([]);
  await clock.advance(1_000);
  expect(subscriber?.cut).toEqual([true]);
});
