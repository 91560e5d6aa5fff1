import { expect, test } from 'vitest';
import { silentLogger } from '../../../src/core/logger.js';
import { readReplicaMessage } from '../../../src/gateway/replicas/messages.js';
import { Replicas } from '../../../src/gateway/replicas/Replicas.js';
import type { Session } from '../../../src/gateway/session/Session.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';

/** What a replica tells of sessions of its clients. `read`: the link has read what it was told. */
function replica() {
  const clock = new FakeClock();
  const told: string[] = [];
  const asked: (() => void)[] = [];
  const replicas = new Replicas({
    link: {
      id: '0a1b2c3d',
      publish: (text) => void told.push(text),
      listen: () => ({ [Symbol.dispose]: () => undefined }),
      note: async () => undefined,
      notes: async () => ({}),
      isAlive: () => new Promise((resolve) => asked.push(() => resolve(true))),
    },
    sessions: {} as never,
    onChanged: () => undefined,
    onGap: () => undefined,
    lifeMs: 60_000,
    clock,
    logger: silentLogger,
  });
  const calls = (): (readonly string[])[] =>
    told.splice(0).map((text) => {
      const message = readReplicaMessage(text, '11111111');
      return message?.type === 'cancelled' ? message.calls.map((call) => call.join(' ')) : [];
    });
  return { clock, told, asked, replicas, calls };
}

const session = (origin: string, moves = true): Session => ({ key: origin, origin, endpoint: { moves } }) as Session;

test('cancellations that come together are told in one message; an id that is too long, or a session that does not move, in none', async () => {
  const { clock, replicas, told, calls } = replica();
  const own = session('a');
  replicas.cancelled(own, 'x'.repeat(1_025));
  replicas.cancelled(session('a', false), '1');
  await clock.advance(1_000);
  expect(told).toEqual([]);
  const ids = ['1', '2', 'x'.repeat(1_024)];
  for (const id of ids) replicas.cancelled(own, id);
  await clock.advance(10);
  expect(calls()).toEqual([ids.map((id) => `a ${id}`)]);
  expect(clock.armedTimers).toBe(0);
});

test('cancellations of a flood are told some at a time, in turns with those of others; beyond 1,000 the oldest of who has most is dropped', async () => {
  const { clock, replicas, calls } = replica();
  for (let i = 0; i < 5_000; i++) replicas.cancelled(session('flood'), `${i}`);
  replicas.cancelled(session('b'), '1');
  for (let i = 0; i < 5_000; i++) replicas.cancelled(session('flood'), `${i}`);
  await clock.advance(10);
  const [first = [], ...more] = calls();
  expect([first.length, first.includes('b 1'), more]).toEqual([64, true, []]);
  await clock.advance(1_000);
  expect(calls().flat()).toHaveLength(1_000 - 64);
  expect(clock.armedTimers).toBe(0);
});

test('what a message of cancellations must be', () => {
  const read = (calls: unknown): unknown => readReplicaMessage(JSON.stringify({ type: 'cancelled', calls }), 'x');
  expect(read([['k', '1']])).toEqual({ type: 'cancelled', calls: [['k', '1']] });
  for (const calls of [undefined, null, 'k', [7], [['k']], [['k', 1]], [['k', '1', '2']]])
    expect(read(calls)).toBeUndefined();
});

test('answers of one origin leave room for those of others until the link has read them', async () => {
  const { asked, replicas, told } = replica();
  const id = 'ask-11111111-1';
  const answer = (origin: string): void =>
    replicas.answered(session(origin), { kind: 'response', id, result: 'x'.repeat(1_024 * 1_024), error: undefined });
  for (let i = 0; i < 20; i++) answer('flood');
  expect(asked).toHaveLength(11);
  answer('b');
  expect(asked).toHaveLength(12);
  // Those that were told count until what was asked behind them is answered.
  for (const found of asked.splice(0)) found();
  await expect.poll(() => asked.length).toBe(12);
  expect(told).toHaveLength(12);
  answer('flood');
  expect(asked).toHaveLength(12);
  for (const read of asked.splice(0)) read();
  await new Promise(setImmediate);
  answer('flood');
  expect(asked).toHaveLength(1);
});

test('a subscription of megabytes that ends, where none so long can be noted, is told to none', async () => {
  const { replicas, told } = replica();
  const answered = async (): Promise<object> => ({});
  await replicas.asking(session('a'), 'resources/unsubscribe', { uri: 'x'.repeat(100_000) }, answered);
  expect(told).toEqual([]);
  await replicas.asking(session('a'), 'resources/unsubscribe', { uri: 'x' }, answered);
  expect(told).toHaveLength(1);
});
