import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { Gateway } from '../../../src/gateway/Gateway.js';
import type { ReplicaLink } from '../../../src/gateway/replicas/ReplicaLink.js';
import { ToldSets } from '../../../src/gateway/replicas/setUps/ToldSets.js';
import type { Session } from '../../../src/gateway/session/Session.js';
import { closeAfter } from '../../support/closeAfter.js';
import { FakePool } from '../../support/FakePool.js';
import { RawClient } from '../../support/httpClient.js';

/** What a client sets and gives back by requests at different replicas, which hear of each other late. */

const turns = async (): Promise<void> => {
  for (let i = 0; i < 5; i++) await new Promise(setImmediate);
};

/** Two gateways with the same notes. What they tell each other waits until it is handed on. */
async function gateways() {
  const sessionKeys = [randomBytes(32)];
  const notes = new Map<string, string>();
  const told: (() => void)[] = [];
  const listeners = new Map<string, (message: string) => void>();
  const make = async (id: string) => {
    const link: ReplicaLink = {
      id,
      publish: (message) => {
        for (const [other, hear] of listeners) if (other !== id) told.push(() => hear(message));
      },
      listen: (onMessage) => {
        listeners.set(id, onMessage);
        return { [Symbol.dispose]: () => undefined };
      },
      note: async (_, name, text) => {
        await turns();
        if (text === undefined) notes.delete(name);
        else notes.set(name, text);
      },
      notes: async () => Object.fromEntries(notes),
      isAlive: async () => true,
    };
    const pool = new FakePool({ one: { capabilities: { resources: { subscribe: true } } } });
    const gateway = closeAfter(new Gateway({ pool, port: 0, sessionKeys, replicas: link }));
    const open = (): string[] => pool.subscriptions.filter(({ closed }) => !closed).map(({ uri }) => uri);
    return { url: `${(await gateway.listen()).url}/servers/one/mcp`, open };
  };
  const [a, b] = [await make('0a1b2c3d'), await make('11111111')];
  const here = new RawClient(a.url);
  await here.initialize();
  const there = Object.assign(new RawClient(b.url), { sessionId: here.sessionId });
  await there.call('ping');
  const handOn = async (): Promise<void> => {
    for (const hear of told.splice(0)) hear();
    await turns();
  };
  return { a, b, here, there, handOn };
}

const uri = 'x:1';

test('what was subscribed to at one replica is given back at another that has not heard of it, for good', async () => {
  const { a, b, here, there, handOn } = await gateways();
  expect((await here.call('resources/subscribe', { uri })).result).toEqual({});
  expect((await there.call('resources/unsubscribe', { uri })).result).toEqual({});
  await handOn();
  await handOn();
  expect([a.open(), b.open()]).toEqual([[], []]);
  expect((await there.call('resources/unsubscribe', { uri })).error).toMatchObject({ code: -32_602 });
});

test('what is subscribed to again holds in all replicas, though they hear late that it was given back', async () => {
  const { a, b, here, there, handOn } = await gateways();
  await here.call('resources/subscribe', { uri });
  await there.call('resources/unsubscribe', { uri });
  await here.call('resources/subscribe', { uri });
  await handOn();
  await handOn();
  expect([a.open(), b.open()]).toEqual([[uri], [uri]]);
});

/** Notes that are read when the test says so. */
function reads() {
  const reading: ((notes: Record<string, string> | undefined) => void)[] = [];
  const applied: unknown[] = [];
  const sets = new ToldSets({
    notesOf: () => new Promise((resolve) => void reading.push(resolve)),
    apply: (_, name, text) => void applied.push([name, text]),
  });
  const answer = async (notes?: Record<string, string>): Promise<void> => {
    reading.shift()?.(notes);
    await turns();
  };
  return { sets, reading, applied, answer, session: { key: 'k' } as Session };
}

test('what a client sets here while the notes are read is not set back to what they said before', async () => {
  const { sets, reading, applied, answer, session } = reads();
  sets.add(session, 'level', 'info');
  let noted!: () => void;
  const setting = sets.setting(session, 'level', () => new Promise<void>((resolve) => (noted = resolve)));
  await answer({ level: 'info' });
  sets.add(session, 'level', 'info');
  expect([reading, applied]).toEqual([[], []]);
  noted();
  await setting;
  await answer({ level: 'debug' });
  expect(applied).toEqual([['level', 'debug']]);
});

test('what is told while notes are read is looked up at one go behind that, within a bound, and holds by itself where they cannot be read', async () => {
  const { sets, reading, applied, answer, session } = reads();
  sets.add(session, 'uri 1', '1');
  sets.add(session, 'uri 2', undefined);
  for (let i = 0; i < 100; i++) sets.add(session, `uri ${i} ${'x'.repeat(1_000)}`, '1');
  expect(reading).toHaveLength(1);
  await answer({});
  expect(applied.splice(0)).toEqual([['uri 1', undefined]]);
  await answer(undefined);
  expect(applied.splice(0, 2)).toEqual([
    ['uri 2', undefined],
    [`uri 0 ${'x'.repeat(1_000)}`, '1'],
  ]);
  expect(applied).toHaveLength(64);
  expect(reading).toHaveLength(0);
});
