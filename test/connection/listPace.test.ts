import { afterEach, expect, test, vi } from 'vitest';
import { ListChanges } from '../../src/connection/ListChanges.js';
import type { ListPace } from '../../src/connection/ListPace.js';
import { fakeServer } from '../../src/testing/fake/FakeServer.js';
import { closeAfter } from '../support/closeAfter.js';
import { collectGarbage } from '../support/collectGarbage.js';
import { httpPool, rawPool } from '../support/httpPool.js';
import type { Exchange } from '../support/rawServer.js';

const CHANGED = { method: 'notifications/tools/list_changed' };
const MIB = 1_024 * 1_024;

afterEach(() => {
  vi.useRealTimers();
});

function changesOf(pace: ListPace): { heard: number; tell(): void } {
  const state = { heard: 0, tell: () => void (changes.admit(CHANGED) && state.heard++) };
  const changes = new ListChanges(() => state.heard++, pace);
  return state;
}

/** With no server that rests for other tests. */
function begin(): Promise<typeof import('../../src/connection/ListPace.js')> {
  vi.useFakeTimers({ toFake: ['performance', 'setTimeout', 'clearTimeout'] });
  vi.resetModules();
  return import('../../src/connection/ListPace.js');
}

test('changes of small lists are told at once, those of large ones after a rest of nine times what those took, as one', async () => {
  const { ListPace } = await begin();
  const pace = new ListPace();
  const changes = changesOf(pace);
  pace.onRead('tools/list', 64 * 1_024);
  changes.tell();
  expect(changes.heard).toBe(1);
  pace.onRead('tools/call', 64 * MIB);
  changes.tell();
  expect(changes.heard).toBe(2);
  // Pages count together.
  for (let page = 0; page < 8; page++) pace.onRead('tools/list', MIB);
  for (let i = 0; i < 50; i++) changes.tell();
  vi.advanceTimersByTime(4_000);
  expect(changes.heard).toBe(2);
  vi.advanceTimersByTime(1_000);
  expect(changes.heard).toBe(3);
  changes.tell();
  expect(changes.heard).toBe(4);
  vi.advanceTimersByTime(60_000);
  expect(changes.heard).toBe(4);
});

test('servers with large lists rest as many times longer as there are, one with small lists is told of soon', async () => {
  const { ListPace } = await begin();
  const large = Array.from({ length: 20 }, () => new ListPace());
  const all = large.map(changesOf);
  const small = new ListPace();
  const own = changesOf(small);
  for (const pace of large) pace.onRead('resources/list', 7 * MIB);
  small.onRead('tools/list', 2_048);
  own.tell();
  expect(own.heard).toBe(1);
  for (const each of all) each.tell();
  vi.advanceTimersByTime(40_000);
  expect(all.filter(({ heard }) => heard > 0).length).toBeLessThan(12);
  vi.advanceTimersByTime(60_000);
  expect(all.every(({ heard }) => heard === 1)).toBe(true);
});

test('a change is told in the end, also where ever more lists are read', async () => {
  const { ListPace, MAX_LIST_REST_MS } = await begin();
  const pace = new ListPace();
  const changes = changesOf(pace);
  pace.onRead('tools/list', 8 * MIB);
  changes.tell();
  for (let ms = 0; ms < MAX_LIST_REST_MS; ms += 1_000) {
    expect(changes.heard).toBe(0);
    pace.onRead('tools/list', 8 * MIB);
    vi.advanceTimersByTime(1_000);
  }
  vi.advanceTimersByTime(1_000);
  expect(changes.heard).toBe(1);
});

test('of changes that were told, or wait to be, nothing is kept that their server wrote into them', async () => {
  const { ListPace } = await begin();
  const pace = new ListPace();
  const late: unknown[] = [];
  const changes = Array.from({ length: 20 }, () => new ListChanges((notice) => late.push(notice), pace));
  const tellAll = (): boolean[] =>
    changes.map((each) => each.admit({ ...CHANGED, params: { junk: Array.from({ length: 131_072 }, () => 0) } }));
  const before = collectGarbage();
  expect(tellAll()).not.toContain(false);
  expect((collectGarbage() - before) / MIB).toBeLessThan(8);
  pace.onRead('tools/list', 8 * MIB);
  expect(tellAll()).not.toContain(true);
  expect((collectGarbage() - before) / MIB).toBeLessThan(8);
  vi.advanceTimersByTime(60_000);
  expect(late).toEqual(changes.map(() => CHANGED));
});

const LARGE = { tools: [{ name: 'large', description: 'd'.repeat(7 * MIB), inputSchema: { type: 'object' } }] };
const answers = ({ message, json }: Exchange): boolean => {
  if (message?.method !== 'tools/list') return false;
  json({ jsonrpc: '2.0', id: message.id, result: LARGE });
  return true;
};
const told = (exchange: Exchange | undefined, method: string): void =>
  exchange?.event({ jsonrpc: '2.0', method, params: { uri: 'test://x' } });

test('all connections of a server rest after a large list that one of them read', async () => {
  const streams: Exchange[] = [];
  const get = (exchange: Exchange): void => {
    exchange.sse();
    streams.push(exchange);
  };
  const { pool } = await rawPool({ lost: 404, get, before: answers }, {}, { sharing: 'bound' });
  const heard: string[] = [];
  pool.on('notification', ({ notice }) => heard.push(notice.method));
  await pool.request('raw', 'ping', {}, { caller: { key: 'other' } });
  await pool.request('raw', 'tools/list', {}, { caller: { key: 'one' } });
  await expect.poll(() => streams.length).toBe(2);
  for (const stream of streams) {
    told(stream, CHANGED.method);
    told(stream, 'notifications/resources/updated');
  }
  await expect.poll(() => heard.length).toBe(2);
  expect(heard).not.toContain(CHANGED.method);
});

test('subscriptions of modern servers rest as well', async () => {
  const fake = closeAfter(fakeServer({ era: 'modern', capabilities: { tools: { listChanged: true } } }));
  let event = (_: string, __?: object): void => undefined;
  const { url } = await fake.listen({
    intercept: ({ message, res }) => {
      const { id, method } = message ?? {};
      if (method === 'tools/list') {
        const result = { ...LARGE, resultType: 'complete', ttlMs: 0, cacheScope: 'public' };
        res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ jsonrpc: '2.0', id, result }));
        return true;
      }
      if (method !== 'subscriptions/listen') return false;
      const _meta = { 'io.modelcontextprotocol/subscriptionId': id };
      event = (said, params = {}) => {
        const notice = { jsonrpc: '2.0', method: said, params: { ...params, _meta } };
        res.write(`data: ${JSON.stringify(notice)}\n\n`);
      };
      res.writeHead(200, { 'content-type': 'text/event-stream' });
      event('notifications/subscriptions/acknowledged', { notifications: { toolsListChanged: true } });
      return true;
    },
  });
  const pool = httpPool();
  pool.addServer({ name: 's', transport: 'http', url, era: 'modern' });
  const heard: string[] = [];
  await pool.subscribe('s', { toolsListChanged: true }, { onNotification: ({ method }) => heard.push(method) });
  event(CHANGED.method);
  await expect.poll(() => heard).toEqual([CHANGED.method]);
  await pool.request('s', 'tools/list', {});
  event(CHANGED.method);
  event('notifications/resources/updated', { uri: 'test://x' });
  await expect.poll(() => heard).toEqual([CHANGED.method, 'notifications/resources/updated']);
});
