import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import {
  BackingOffError,
  ForbiddenError,
  OptionError,
  ServerStoppedError,
  StartError,
  UnauthorizedError,
} from '../../src/core/errors.js';
import { silentLogger } from '../../src/core/logger.js';
import type { Downstream } from '../../src/gateway/endpoint/Endpoint.js';
import { Gateway } from '../../src/gateway/Gateway.js';
import { keptUp } from '../../src/gateway/session/SessionSubscriptions.js';
import { HTTPClientPool } from '../../src/pool/HTTPClientPool.js';
import type { ServerInfo, ServerNotice, Subscription } from '../../src/pool/McpPool.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { closeAfter } from '../support/closeAfter.js';
import { FakePool } from '../support/FakePool.js';
import { exchange, type Message, RawClient } from '../support/httpClient.js';
import { headersOf, META_OF_ANYONE } from '../support/modernRequests.js';
import { RawServer } from '../support/rawServer.js';

/** What becomes of subscriptions whose server stops, is removed, or is another one since. */

beforeEach(() => {
  // No jitter.
  vi.spyOn(Math, 'random').mockReturnValue(0);
});
afterEach(() => vi.restoreAllMocks());

const CAPABILITIES = { tools: { listChanged: true }, resources: { subscribe: true, listChanged: true } };
const TOOLS = { method: 'notifications/tools/list_changed' };
const RESOURCES = { method: 'notifications/resources/list_changed' };

/** A pool whose one server speaks the era that a test says, and whose subscriptions a test ends. */
class MovedPool extends FakePool {
  era: ServerInfo['era'] = 'legacy';
  /** What the next subscriptions fail with. */
  refusal: Error | undefined;
  readonly opened: { readonly notify: (notice: ServerNotice) => void; readonly end: () => void }[] = [];

  constructor() {
    const lists = { resources: [{ uri: 'x://a', name: 'a' }] };
    super({ one: { capabilities: CAPABILITIES, lists } });
  }

  override info(name: string): ServerInfo {
    return { ...super.info(name), era: this.era };
  }

  override async subscribe(...[server, filter, options]: Parameters<FakePool['subscribe']>): Promise<Subscription> {
    if (this.refusal !== undefined) throw this.refusal;
    const subscription = await super.subscribe(server, filter, options);
    this.opened.push({ notify: options.onNotification, end: () => void subscription.close() });
    return { ...subscription, filter };
  }
}

async function start() {
  const pool = new MovedPool();
  const gateway = closeAfter(new Gateway({ pool, port: 0 }));
  return { pool, url: (await gateway.listen()).url };
}

const PATHS = ['/servers/one/mcp', '/mcp'];

test.each(PATHS)('at %s a legacy client looks again at what it follows when its server is stopped', async (path) => {
  const { pool, url } = await start();
  const client = new RawClient(`${url}${path}`);
  await client.initialize();
  const stream = await client.listen();
  await client.call('resources/subscribe', { uri: 'x://a' });
  pool.refusal = new ServerStoppedError('one');
  for (const { end } of pool.opened) end();
  const [told] = await stream.has(1);
  expect(told).toMatchObject({ method: 'notifications/resources/updated', params: { uri: 'x://a' } });
  await stream.stop();
});

test.each([
  ['stopped', '/servers/one/mcp', 'stopServer'],
  ['removed', '/servers/one/mcp', 'removeServer'],
  ['stopped', '/mcp', 'stopServer'],
  ['removed', '/mcp', 'removeServer'],
] as const)('so it does where a server over HTTP is %s, at %s', async (_, path, end) => {
  const results: Readonly<Record<string, object>> = {
    initialize: { protocolVersion: '2025-06-18', capabilities: CAPABILITIES, serverInfo: { name: 's', version: '1' } },
    'tools/list': { tools: [] },
    'resources/list': { resources: [{ uri: 'x://a', name: 'a' }] },
    'resources/templates/list': { resourceTemplates: [] },
  };
  const server = await RawServer.listen({
    before: ({ method, message, json }) => {
      if (method !== 'POST' || message?.id === undefined || message.method === 'server/discover') return false;
      json({ jsonrpc: '2.0', id: message.id, result: results[message.method] ?? {} });
      return true;
    },
  });
  const pool = closeAfter(new HTTPClientPool());
  pool.addServer({ name: 'one', transport: 'http', url: server.url });
  const gateway = closeAfter(new Gateway({ pool, port: 0 }));
  const client = new RawClient(`${(await gateway.listen()).url}${path}`);
  await client.initialize();
  const stream = await client.listen();
  expect(await client.call('resources/subscribe', { uri: 'x://a' })).toMatchObject({ result: {} });
  await pool[end]('one');
  const updated = { method: 'notifications/resources/updated', params: { uri: 'x://a' } };
  await vi.waitFor(() => expect(stream.messages).toContainEqual(expect.objectContaining(updated)));
  await stream.stop();
});

test('a client that gives its subscription back, or leaves, is told nothing more', async () => {
  const clock = new FakeClock();
  const life = new AbortController();
  const session = { era: 'legacy', signal: life.signal } as Downstream;
  const tell = vi.fn();
  const open = async (): Promise<Subscription> => {
    let end = (): void => undefined;
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    life.signal.addEventListener('abort', () => end());
    const close = async (): Promise<void> => end();
    return { filter: { resourceUris: ['x://a'] }, ended, close, [Symbol.asyncDispose]: close };
  };
  const options = { clock, logger: silentLogger, tell };
  const [first, second] = [
    await keptUp('one', session, undefined, options, open),
    await keptUp('one', session, undefined, options, open),
  ];
  await first.close();
  life.abort();
  await Promise.all([first.ended, second.ended]);
  expect(tell).not.toHaveBeenCalled();
});

test.each(PATHS)('at %s a legacy client of a server that speaks its era since is told once of a list', async (path) => {
  const { pool, url } = await start();
  pool.era = 'modern';
  const client = new RawClient(`${url}${path}`);
  await client.initialize();
  const stream = await client.listen();
  const count = (messages: readonly Message[], method: string): number =>
    messages.filter((each) => each.method === method).length;
  await vi.waitFor(() => expect(pool.opened).toHaveLength(1));
  const [followed] = pool.opened;
  followed?.notify(TOOLS);
  await stream.has(1);
  pool.era = 'legacy';
  // Its subscription goes on with it, and so does what it says to all.
  const said = (notice: ServerNotice): void => {
    followed?.notify(notice);
    pool.emit('notification', { server: 'one', principal: undefined, key: undefined, notice, busy: false });
  };
  said(TOOLS);
  said(RESOURCES);
  await vi.waitFor(() => expect(count(stream.messages, RESOURCES.method)).toBeGreaterThan(0));
  await client.call('ping');
  expect(count(stream.messages, TOOLS.method)).toBe(2);
  expect(count(stream.messages, RESOURCES.method)).toBe(1);
  await stream.stop();
});

test.each([
  ['its sign-in is over', new UnauthorizedError('one')],
  ['it rests since its sign-in is over', new BackingOffError('one', 1_000, new UnauthorizedError('one'))],
  ['its start is refused', new StartError('one', 'refused', {}, new ForbiddenError('one'))],
])(
  'a subscription whose server is another one since ends where %s, and goes on being tried where it may start',
  async (_, final) => {
    const clock = new FakeClock();
    const opened: (() => void)[] = [];
    let failure: Error = new StartError('one', 'it ended');
    let tries = 0;
    const open = async (): Promise<Subscription> => {
      tries++;
      if (opened.length > 0) throw failure;
      const ended = new Promise<void>((resolve) => opened.push(resolve));
      const close = async (): Promise<void> => undefined;
      return { filter: { toolsListChanged: true }, ended, close, [Symbol.asyncDispose]: close };
    };
    const session = { era: 'legacy', signal: new AbortController().signal } as Downstream;
    const tell = vi.fn();
    const subscription = await keptUp('one', session, undefined, { clock, logger: silentLogger, tell }, open);
    opened[0]?.();
    await clock.advance(120_000);
    expect(tries).toBeGreaterThan(5);
    expect(tell).not.toHaveBeenCalled();
    failure = final;
    await clock.advance(31_000);
    const before = tries;
    await clock.advance(300_000);
    expect(tries).toBe(before);
    await subscription.ended;
    expect(tell.mock.calls).toEqual([[TOOLS]]);
  },
);

test('a subscription of a modern client that tells of nothing ends with its server', async () => {
  const { pool, url } = await start();
  pool.refusal = new OptionError('filter', {}, 'what it offers');
  const before = pool.listeners('state');
  const method = 'subscriptions/listen';
  const params = { notifications: { promptsListChanged: true }, _meta: META_OF_ANYONE };
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params });
  const listening = exchange(`${url}/servers/one/mcp`, { headers: headersOf(method), body });
  await vi.waitFor(() => expect(pool.listeners('state')).toBe(before + 1));
  pool.remove('one');
  pool.emit('state', { server: 'one', state: 'stopped', previous: 'ready' });
  expect((await listening).text).toContain('"resultType":"complete"');
  expect(pool.listeners('state')).toBe(before);
});
