import { expect, test } from 'vitest';
import { ProtocolError, StartError } from '../../src/core/errors.js';
import { Gateway } from '../../src/gateway/Gateway.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import type { ToolStore } from '../../src/toolstore/ToolStore.js';
import { closeAfter } from '../support/closeAfter.js';
import { FakePool } from '../support/FakePool.js';
import { type EventReader, RawClient } from '../support/httpClient.js';
import { CacheHouse, deferred } from '../toolstore/fixtureCache.js';

const tool = (name: string) => ({ name, inputSchema: { type: 'object' } });
const CHANGED = 'notifications/tools/list_changed';

interface House {
  readonly pool: FakePool;
  readonly client: RawClient;
  readonly stream: EventReader;
}

const open = async (pool: FakePool, cache?: ToolStore, clock?: FakeClock): Promise<House> => {
  const gateway = closeAfter(new Gateway({ pool, port: 0, ...(cache && { cache }), ...(clock && { clock }) }));
  const client = new RawClient(`${(await gateway.listen()).url}/mcp`);
  await client.initialize();
  const stream = await client.listen();
  closeAfter({ close: () => stream.stop() });
  return { pool, client, stream };
};

const names = async ({ client }: House): Promise<string[] | undefined> =>
  ((await client.call('tools/list')).result?.['tools'] as { name: string }[] | undefined)?.map(({ name }) => name);

const started = (server: string, others = 0) => ({ server, pid: 1, startMs: 1, others });
const told = async ({ stream }: House, count: number) =>
  expect((await stream.has(count)).map(({ method }) => method)).toEqual(Array.from({ length: count }, () => CHANGED));

test('clients hear of a server that is added or removed, or comes back with other tools, and of no other start', async () => {
  let tools = [tool('echo')];
  const house = await open(new FakePool({ one: { lists: { tools: async () => tools } } }));
  const { pool } = house;
  expect(await names(house)).toEqual(['one__echo']);
  pool.emit('started', started('one'));
  pool.add('two', { lists: { tools: [tool('add')] } });
  pool.emit('started', started('two'));
  await told(house, 1);
  expect(await names(house)).toEqual(['one__echo', 'two__add']);
  tools = [tool('echo'), tool('new')];
  pool.emit('started', started('one'));
  await told(house, 2);
  expect(await names(house)).toEqual(['one__echo', 'one__new', 'two__add']);
  pool.remove('two');
  pool.emit('state', { server: 'two', state: 'stopped', previous: 'stopping' });
  await told(house, 3);
  expect(await names(house)).toEqual(['one__echo', 'one__new']);
});

test('one more connection of a server that is up, as any client has it started, has no list asked for again', async () => {
  const pool = new FakePool({ one: { lists: { tools: [tool('echo')] } } });
  const house = await open(pool);
  await names(house);
  for (let others = 1; others < 20; others++) pool.emit('started', started('one', others));
  expect(await names(house)).toEqual(['one__echo']);
  expect(pool.calls.filter(({ method }) => method === 'tools/list')).toHaveLength(1);
});

test('while a server tells its changed list, calls of what it listed before go on; what is new waits for it', async () => {
  let tools = [tool('echo')];
  let ready: Promise<void> | undefined;
  const pool = new FakePool({
    one: {
      lists: {
        tools: async () => {
          await ready;
          return tools;
        },
      },
      methods: { 'tools/call': (params) => ({ content: [{ type: 'text', text: String(params?.['name']) }] }) },
    },
  });
  const house = await open(pool);
  expect(await names(house)).toEqual(['one__echo']);
  let done = (): void => undefined;
  ready = new Promise((resolve) => {
    done = resolve;
  });
  tools = [tool('new')];
  pool.emit('notification', { server: 'one', notice: { method: CHANGED } });
  const call = async (name: string) => (await house.client.call('tools/call', { name })).result?.['content'];
  expect(await call('one__echo')).toMatchObject([{ text: 'echo' }]);
  let told: unknown;
  const next = call('one__new').then((content) => {
    told = content;
  });
  expect(await call('one__echo')).toMatchObject([{ text: 'echo' }]);
  expect(told).toBeUndefined();
  done();
  await next;
  expect(told).toMatchObject([{ text: 'new' }]);
  expect(await names(house)).toEqual(['one__new']);
  expect((await house.client.call('tools/call', { name: 'one__echo' })).error).toMatchObject({ code: -32_602 });
});

test('a start that the listing itself caused has it asked for once', async () => {
  const pool: FakePool = new FakePool({
    one: {
      lists: {
        tools: async () => {
          pool.emit('started', started('one'));
          return [tool('echo')];
        },
      },
    },
  });
  const house = await open(pool);
  await names(house);
  await names(house);
  expect(pool.calls.filter(({ method }) => method === 'tools/list')).toHaveLength(1);
});

test('after a restart lists come from the cache at once, and clients hear of it when they were out of date', async () => {
  const places = new CacheHouse();
  const before = new FakePool({ one: { lists: { tools: [tool('old')] } } });
  const cache = places.open();
  expect(await names(await open(before, cache))).toEqual(['one__old']);
  await cache.close();
  const slow = deferred<readonly unknown[]>();
  const pool = new FakePool({ one: { lists: { tools: () => slow.promise }, methods: { 'tools/call': () => ({}) } } });
  const house = await open(pool, places.open());
  expect(await names(house)).toEqual(['one__old']);
  expect((await house.client.call('tools/call', { name: 'one__old' })).result).toEqual({});
  slow.resolve([tool('new')]);
  await told(house, 1);
  expect(await names(house)).toEqual(['one__new']);
});

test("a dead server's last good list stays on offer, and it is asked again until it answers", async () => {
  const places = new CacheHouse();
  const alive = new FakePool({ one: { lists: { tools: [tool('good')] } } });
  const cache = places.open();
  await names(await open(alive, cache));
  await cache.close();
  let dead = true;
  const tools = async () => {
    if (dead) throw new StartError('one', 'it exited');
    return [tool('better')];
  };
  const house = await open(new FakePool({ one: { lists: { tools } } }), places.open());
  expect(await names(house)).toEqual(['one__good']);
  expect(await names(house)).toEqual(['one__good']);
  dead = false;
  house.pool.emit('started', started('one'));
  await expect.poll(() => names(house)).toEqual(['one__better']);
});

test('a list that is at fault itself is not asked for again with each request, but after a while, a change or a start', async () => {
  let tools = async (): Promise<readonly unknown[]> => {
    throw new ProtocolError('big', 'its tools/list has more than 20000 items');
  };
  const pool = new FakePool({
    big: { lists: { tools: () => tools() }, methods: { 'tools/call': () => ({ content: [] }) } },
    good: { lists: { tools: [tool('echo')] } },
  });
  const clock = new FakeClock();
  const house = await open(pool, undefined, clock);
  const asked = () => pool.calls.filter(({ method, server }) => method === 'tools/list' && server === 'big').length;
  const askMuch = async (): Promise<void> => {
    for (let i = 0; i < 3; i++) {
      expect(await names(house)).toEqual(['good__echo']);
      expect((await house.client.call('tools/call', { name: `big__no${i}` })).error?.code).toBe(-32_603);
    }
  };
  await askMuch();
  expect(asked()).toBe(1);
  await clock.advance(1_000);
  await askMuch();
  expect(asked()).toBe(2);
  // The second wait is the longer one.
  await clock.advance(1_000);
  await askMuch();
  expect(asked()).toBe(2);
  pool.emit('notification', { server: 'big', notice: { method: CHANGED } });
  await askMuch();
  expect(asked()).toBe(3);
  tools = async () => [tool('echo')];
  await askMuch();
  pool.emit('started', started('big'));
  expect(await names(house)).toEqual(['big__echo', 'good__echo']);
});
