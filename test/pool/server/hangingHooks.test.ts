import { expect, test } from 'vitest';
import type { Connection } from '../../../src/connection/Connection.js';
import { silentLogger } from '../../../src/core/logger.js';
import type { CredentialsHook } from '../../../src/pool/server/callers/Credentials.js';
import { startInEra } from '../../../src/pool/server/callers/startInEra.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';
import { MEMORY, memoryPool, outcome } from '../../support/memoryPool.js';

/** Functions that a user hands to a pool, and that never answer. */

const never = (): Promise<never> => new Promise(() => undefined);

test('a credentials hook that never answered a start is asked again by the next', async () => {
  let hangs = true;
  const credentials: CredentialsHook = async () => (hangs ? never() : {});
  const { pool, clock, call } = memoryPool({ credentials, startTimeoutMs: 60_000 });
  pool.addServer(MEMORY);
  const first = outcome(call('a'));
  await clock.advance(30_000);
  expect(await first).toBe('ERR_START_FAILED');
  hangs = false;
  await clock.advance(1_000);
  expect(await call('b')).toMatchObject({ name: 'b' });
});

test('an era store that never answers leaves a start most of its time, and holds none that was given up', async () => {
  const eraStore = { get: never, set: never, delete: never };
  const clock = new FakeClock();
  const starting = (signal: AbortSignal) => ({
    pool: { eraStore, logger: silentLogger, clock },
    leftMs: () => 30_000,
    signal,
  });
  const probe = async () => ({ era: 'modern', evidence: true }) as const;
  const started = startInEra(starting(new AbortController().signal), 'f', probe, async (era) => era);
  for (let asked = 0; asked < 2; asked++) await clock.advance(5_000);
  expect(await started).toBe('modern');
  const control = new AbortController();
  const givenUp = startInEra(starting(control.signal), 'f', probe, async (era) => era);
  control.abort();
  await givenUp;
  expect(clock.armedTimers).toBe(0);
});

/** A connection in front of another, with some members of its own. */
const inFront =
  (own: Readonly<Record<string, unknown>>) =>
  (made: Connection): Connection =>
    new Proxy(made, {
      get(target, name) {
        const value = name in own ? own[name as string] : Reflect.get(target, name, target);
        if (value instanceof Error) throw value;
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });

test('a call that what wrapConnection gave never settles ends with its time, its signal, its connection and its pool', async () => {
  const { pool, clock, connector, call } = memoryPool({
    wrapConnection: inFront({ request: never }),
    maxConcurrent: 2,
  });
  pool.addServer(MEMORY);
  const late = outcome(call('a', { timeoutMs: 1_000, acquireTimeoutMs: 500 }));
  await clock.advance(2_500);
  expect(await late).toBe('ERR_REQUEST_TIMEOUT');

  const control = new AbortController();
  const left = outcome(call('b', { signal: control.signal }));
  await clock.advance(1);
  control.abort('left');
  expect(await left).toBe('left');

  const cut = outcome(call('c', { timeoutMs: Number.POSITIVE_INFINITY }));
  await clock.advance(1);
  connector.last.die('it crashed');
  await clock.advance(1_000);
  expect(await cut).toBe('ERR_OUTCOME_UNKNOWN');
  expect(pool.stats('s')).toMatchObject({ connections: 0 });

  await clock.advance(30_000);
  const closed = outcome(call('d'));
  await clock.advance(1);
  const closing = pool.close({ graceMs: 0 });
  await clock.advance(1_000);
  await closing;
  expect(await closed).toBe('ERR_OUTCOME_UNKNOWN');
  expect([connector.live.length, clock.armedTimers]).toEqual([0, 0]);
});

test('a close that hangs in front of a connection holds up none for more than two seconds, and that one is closed', async () => {
  const { pool, clock, connector, call } = memoryPool({ wrapConnection: inFront({ close: never }) });
  pool.addServer(MEMORY);
  await call('a');
  const closing = pool.removeServer('s', { graceMs: 0 }).catch((error: unknown) => error);
  await clock.advance(1_000);
  expect(connector.live).toEqual([]);
  await clock.advance(1_000);
  expect(await closing).toMatchObject({
    message: expect.stringContaining('the connection that wrapConnection gave for s'),
  });
});

test('a close in front of a connection that waits for the one behind it takes as long as that, and has not failed', async () => {
  let kill = (): void => undefined;
  const killed = new Promise<void>((resolve) => {
    kill = resolve;
  });
  const wrapConnection = (made: Connection): Connection => {
    const close = made.close.bind(made);
    made.close = () => killed.then(() => close());
    return inFront({})(made);
  };
  const { pool, clock, connector, call } = memoryPool({ wrapConnection });
  pool.addServer(MEMORY);
  await call('a');
  const closing = pool.removeServer('s', { graceMs: 0 }).then(() => 'closed');
  await clock.advance(1_500);
  kill();
  expect(await closing).toBe('closed');
  expect([connector.live.length, clock.armedTimers]).toEqual([0, 0]);
});

test.each<[string, (made: Connection) => unknown, object]>([
  ['nothing', () => undefined, { code: 'ERR_OPTION' }],
  ['what is no connection', () => ({ request: never }), { code: 'ERR_OPTION' }],
  ['one that cannot be listened to', inFront({ onNotification: new Error('planted') }), { message: 'planted' }],
])('where wrapConnection gives %s the start fails and leaves no connection', async (_, wrapConnection, error) => {
  const { pool, connector, call } = memoryPool({ wrapConnection: wrapConnection as never });
  pool.addServer(MEMORY);
  const failed = await call('a').catch((each: { code: string; cause?: Error }) => each.cause ?? each);
  expect(failed).toMatchObject(error);
  expect(connector.live).toEqual([]);
});

test('a connection in front whose members throw when they are looked at is asked for none', async () => {
  const members = ['alive', 'info', 'counters', 'inFlight', 'unsentBytes', 'startedAt', 'pid'];
  const broken = inFront(Object.fromEntries(members.map((name) => [name, new Error('planted')])));
  const { pool, call } = memoryPool({ wrapConnection: broken });
  pool.addServer(MEMORY);
  expect(await call('a')).toMatchObject({ name: 'a' });
  expect(pool.stats('s')).toMatchObject({ connections: 1, calls: 1 });
});
