import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { QueueFullError, RpcError, ServerStoppedError } from '../../../src/core/errors.js';
import { silentLogger } from '../../../src/core/logger.js';
import { Gateway } from '../../../src/gateway/Gateway.js';
import type { ReplicaLink } from '../../../src/gateway/replicas/ReplicaLink.js';
import { SessionSetUps } from '../../../src/gateway/replicas/setUps/SessionSetUps.js';
import { Refusal } from '../../../src/gateway/rpc/failure.js';
import type { Session } from '../../../src/gateway/session/Session.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';
import { closeAfter } from '../../support/closeAfter.js';
import { FakePool } from '../../support/FakePool.js';
import { RawClient } from '../../support/httpClient.js';

/** Sessions that come to another replica: what their clients set holds there too. */

beforeEach(() => {
  // No jitter.
  vi.spyOn(Math, 'random').mockReturnValue(0);
});
afterEach(() => vi.restoreAllMocks());

interface Asked {
  readonly session: string;
  readonly uri: string;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** What a replica asks for sessions that it takes up. */
function replica() {
  const clock = new FakeClock();
  const setUps = new SessionSetUps({ clock, logger: silentLogger });
  const open: Asked[] = [];
  const left: string[] = [];
  const session = (origin: string, listening = true) => {
    const told: unknown[] = [];
    const life = new AbortController();
    const request = (_: Session, method: string, { uri }: { readonly uri: string }): Promise<unknown> =>
      new Promise<void>((resolve, reject) => {
        if (method === 'resources/unsubscribe') left.push(uri);
        else open.push({ session: origin, uri, resolve, reject });
      });
    const made = {
      origin,
      listening,
      signal: life.signal,
      endpoint: { request },
      notify: (method: string, params: { readonly uri: string }) => told.push([method, params.uri]),
    };
    return { told, life, of: made as unknown as Session };
  };
  /** Answers what was asked so far. */
  const settle = async (answer: (asked: Asked) => void): Promise<string[]> => {
    const all = open.splice(0);
    for (const each of all) answer(each);
    await new Promise(setImmediate);
    await new Promise(setImmediate);
    return all.map(({ uri }) => uri);
  };
  const fail = (error: Error) => (asked: Asked) => asked.reject(error);
  return { clock, setUps, open, left, session, settle, fail };
}

const agree = ({ resolve }: Asked): void => resolve();

test('subscriptions of many sessions that come at one instant are asked for some at a time, in turns, and each is', async () => {
  const { setUps, open, session, settle } = replica();
  const all = Array.from({ length: 15 }, (_, i) => session(`origin ${i}`));
  for (const { of: each } of all) {
    for (let i = 0; i < 100; i++) setUps.set(each, `uri ${each.origin} ${i}`, '1');
  }
  const asked = new Set<string>();
  while (open.length > 0) {
    expect(open.length).toBeLessThanOrEqual(32);
    const counts = all.map(({ of: { origin } }) => open.filter((each) => each.session === origin).length);
    expect(Math.max(...counts)).toBeLessThanOrEqual(8);
    for (const uri of await settle(agree)) asked.add(uri);
  }
  expect(asked.size).toBe(1_500);
});

test('what fails is asked for again after growing pauses, for as long as the session lives, and what waited goes first', async () => {
  const { clock, setUps, open, session, settle, fail } = replica();
  const { of: own, life } = session('a');
  for (let i = 0; i < 20; i++) setUps.set(own, `uri ${i}`, '1');
  const busy = fail(new QueueFullError('server s', 768, 768));
  expect(await settle(busy)).toHaveLength(8);
  expect(open).toEqual([]);
  await clock.advance(999);
  expect(open).toEqual([]);
  await clock.advance(1);
  expect((await settle(busy))[0]).toBe('8');
  await clock.advance(1_999);
  expect(open).toEqual([]);
  await clock.advance(1);
  const asked = await settle(agree);
  expect(asked[0]).toBe('16');
  while (open.length > 0) asked.push(...(await settle(agree)));
  expect(asked.map(Number).sort((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, i) => i));
  setUps.set(own, 'uri last', '1');
  await settle(busy);
  life.abort();
  await clock.advance(60_000);
  expect(open).toEqual([]);
  expect(clock.armedTimers).toBe(0);
});

test('a server that does not answer holds up the sessions of others for a short time only', async () => {
  const { clock, setUps, open, session } = replica();
  for (let i = 0; i < 4; i++) {
    for (let each = 0; each < 8; each++) setUps.set(session(`slow ${i}`).of, `uri ${i} ${each}`, '1');
  }
  const { of: other } = session('other');
  setUps.set(other, 'uri x', '1');
  expect(open.map(({ uri }) => uri)).not.toContain('x');
  await clock.advance(5_000);
  await expect.poll(() => open.map(({ uri }) => uri)).toContain('x');
});

test.each([
  ['the server refuses', new RpcError('s', -32_602, 'unknown')],
  ['the server was stopped', new ServerStoppedError('s')],
  ['none offers it', new Refusal(-32_601, 'offers no subscriptions')],
])('where %s the client is told that the resource changed, once it listens', async (_, error) => {
  const { clock, setUps, open, session, settle, fail } = replica();
  const listens = session('a');
  const later = session('b', false);
  for (const { of: each } of [listens, later]) setUps.set(each, `uri ${each.origin}`, '1');
  await settle(fail(error));
  expect([listens.told, later.told]).toEqual([[['notifications/resources/updated', 'a']], []]);
  Object.assign(later.of, { listening: true });
  await clock.advance(1_000);
  expect(await settle(fail(error))).toEqual(['b']);
  expect(later.told).toEqual([['notifications/resources/updated', 'b']]);
  await clock.advance(60_000);
  expect(open).toEqual([]);
});

test('what is given back meanwhile is not asked for, or is given back once it is there', async () => {
  const { clock, setUps, left, session, settle, fail } = replica();
  const { of: own } = session('a');
  for (let i = 0; i < 9; i++) setUps.set(own, `uri ${i}`, '1');
  expect(['0', '8', 'none'].map((uri) => setUps.said(own, `uri ${uri}`, undefined))).toEqual([true, true, false]);
  const asked = await settle((each) => (each.uri === '1' ? fail(new QueueFullError('q', 1, 1))(each) : each.resolve()));
  expect(asked).toEqual(['0', '1', '2', '3', '4', '5', '6', '7']);
  expect(left).toEqual(['0']);
  expect(setUps.said(own, 'uri 1', undefined)).toBe(true);
  await clock.advance(60_000);
  expect(await settle(agree)).toEqual([]);
});

/** Two gateways that know of each other, by what a test hands on. */
async function gateways() {
  const sessionKeys = [randomBytes(32)];
  const notes: Record<string, string> = {};
  const heard: ((message: string) => void)[] = [];
  const make = async (id: string) => {
    const link: ReplicaLink = {
      id,
      publish: () => undefined,
      listen: (onMessage) => {
        heard.push(onMessage);
        return { [Symbol.dispose]: () => undefined };
      },
      note: async (_, name, text) => {
        if (text === undefined) delete notes[name];
        else notes[name] = text;
      },
      notes: async (key) => {
        const now = { ...notes };
        const said = (name: string) => JSON.stringify({ type: 'set', key, name });
        notes['uri x:late'] = '1';
        delete notes['uri x:left'];
        for (const hear of heard) for (const name of ['uri x:late', 'uri x:left']) hear(said(name));
        return now;
      },
      isAlive: async () => true,
    };
    const later = async (): Promise<object> => {
      for (let i = 0; i < 20; i++) await new Promise(setImmediate);
      return {};
    };
    const methods = { 'logging/setLevel': () => ({}), 'tools/call': later };
    const pool = new FakePool({ one: { capabilities: { resources: { subscribe: true } }, methods } });
    const gateway = closeAfter(new Gateway({ pool, port: 0, sessionKeys, replicas: link }));
    return { pool, url: `${(await gateway.listen()).url}/servers/one/mcp` };
  };
  return { a: await make('0a1b2c3d'), b: await make('11111111') };
}

test('what is told of a session while its notes are read holds where it is taken up', async () => {
  const { a, b } = await gateways();
  const client = new RawClient(a.url);
  await client.initialize();
  for (const uri of ['x:1', 'x:left']) await client.call('resources/subscribe', { uri });
  const moved = Object.assign(new RawClient(b.url), { sessionId: client.sessionId });
  await moved.call('ping');
  const open = (): string[] => b.pool.subscriptions.filter(({ closed }) => !closed).map(({ uri }) => uri);
  await expect.poll(open).toEqual(['x:1', 'x:late']);
  // It was given back, as far as its client knows.
  expect((await moved.call('resources/unsubscribe', { uri: 'x:left' })).error).toMatchObject({ code: -32_602 });
});

test('a level that is no text is the server’s to judge: with replicas, too, each request of an array is answered once', async () => {
  const { a } = await gateways();
  const client = new RawClient(a.url);
  await client.initialize('2025-03-26');
  const params = { level: { toString: 1, valueOf: 1 } };
  const { messages } = await client.send([
    { jsonrpc: '2.0', id: 1, method: 'logging/setLevel', params },
    { jsonrpc: '2.0', id: 2, method: 'tools/call', params: { name: 't' } },
  ] as never);
  expect(messages.map(({ id, result }) => [id, result]).sort()).toEqual([
    [1, {}],
    [2, {}],
  ]);
});
