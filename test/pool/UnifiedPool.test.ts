import { expect, test } from 'vitest';
import type { Connection } from '../../src/connection/Connection.js';
import { ClosedError, messageOf, OptionError, ServerNotFoundError, StartError } from '../../src/core/errors.js';
import { UnifiedPool, type UnifiedPoolOptions } from '../../src/pool/UnifiedPool.js';
import type { ServerConfig } from '../../src/registry/config/ServerConfig.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { closeAfter } from '../support/closeAfter.js';
import { everything } from '../support/everything.js';
import { fakeServer, fakeTransports } from '../support/fakeTransports.js';
import { everythingHttp, everythingSse, freePort } from '../support/httpServers.js';
import { RawServer } from '../support/rawServer.js';
import { RawSse } from '../support/rawSse.js';
import { said } from '../support/stdioPool.js';

function unifiedPool(options: UnifiedPoolOptions = {}): UnifiedPool {
  return closeAfter(new UnifiedPool(options));
}

const echo = (pool: UnifiedPool, name: string, message: string): Promise<string> =>
  said(pool.request(name, 'tools/call', { name: 'echo', arguments: { message } }));

test('servers of all three transports answer from one pool, and none disturbs the others when one is killed', async () => {
  const [http, sse] = await Promise.all([everythingHttp(), everythingSse()]);
  const pool = unifiedPool();
  const report = await pool.startAll([
    everything('local'),
    { name: 'remote', transport: 'http', url: http.url },
    { name: 'old', transport: 'sse', url: sse.url },
    { name: 'nowhere', transport: 'http', url: `http://127.0.0.1:${await freePort()}/mcp` },
  ]);
  expect([...report.started].sort()).toEqual(['local', 'old', 'remote']);
  expect(report.failed).toMatchObject([{ name: 'nowhere', error: { code: 'ERR_START_FAILED' } }]);
  const names = ['local', 'remote', 'old'];
  expect(await Promise.all(names.map((name) => echo(pool, name, `to ${name}`)))).toEqual([
    'Echo: to local',
    'Echo: to remote',
    'Echo: to old',
  ]);
  await sse.close();
  const answers = Array.from({ length: 50 }, (_, i) => echo(pool, i % 2 === 0 ? 'local' : 'remote', `${i}`));
  await expect(echo(pool, 'old', 'gone')).rejects.toThrow();
  expect(await Promise.all(answers)).toEqual(Array.from({ length: 50 }, (_, i) => `Echo: ${i}`));
  expect(pool.allStats().map(({ name }) => name)).toEqual(['local', 'remote', 'old', 'nowhere']);
});

test('the transport of a URL that names none is found out on its first use, and remembered', async () => {
  const [http, sse] = await Promise.all([everythingHttp(), everythingSse()]);
  const pool = unifiedPool();
  pool.addServer({ name: 'new', url: http.url });
  pool.addServer({ name: 'old', url: sse.url });
  expect(pool.state('old')).toBe('idle');
  expect(await Promise.all([echo(pool, 'new', 'a'), echo(pool, 'old', 'b'), echo(pool, 'old', 'c')])).toEqual([
    'Echo: a',
    'Echo: b',
    'Echo: c',
  ]);
  expect(pool.stats('old')).toMatchObject({ state: 'ready', calls: 3 });
  const report = await pool.apply([
    { name: 'new', url: http.url },
    { name: 'old', url: sse.url },
  ]);
  expect(report).toEqual({ added: [], removed: [], restarted: [], unchanged: ['new', 'old'] });
});

test('a refused connection says nothing about a transport: the start fails and the next use tries again', async () => {
  const port = await freePort();
  const pool = unifiedPool({ backoff: { initialMs: 1, maxMs: 1 } });
  pool.addServer({ name: 'late', url: `http://127.0.0.1:${port}/mcp` });
  await expect(echo(pool, 'late', 'a')).rejects.toThrow(StartError);
  expect(pool.state('late')).toBe('failed');
  await everythingHttp(port);
  expect(await echo(pool, 'late', 'b')).toBe('Echo: b');
});

test('apply makes it hold exactly what is asked, and a bad config changes nothing', async () => {
  const pool = unifiedPool();
  const url = `http://127.0.0.1:${await freePort()}/mcp`;
  await pool.startServer(everything('a'));
  pool.addServer({ name: 'b', transport: 'http', url });
  const pid = pool.stats('a').pids;
  const bad: ServerConfig[] = [everything('c'), { name: 'd', transport: 'sse', url: 'ftp://nowhere' }];
  await expect(pool.apply(bad)).rejects.toThrow(OptionError);
  expect(pool.servers()).toEqual(['a', 'b']);
  const report = await pool.apply([everything('a'), everything('c'), { name: 'e', url }]);
  expect(report).toEqual({ added: ['c', 'e'], removed: ['b'], restarted: [], unchanged: ['a'] });
  expect(pool.stats('a').pids).toEqual(pid);
  expect(await echo(pool, 'c', 'hello')).toBe('Echo: hello');
});

test('connectors that were handed in live on, those made here end with the pool; events of all servers are told', async () => {
  const { connectors, net } = fakeTransports();
  const lent = connectors.filter(({ transports }) => !transports.includes('http'));
  const pool = unifiedPool({ connectors: lent });
  const started: string[] = [];
  const states: string[] = [];
  pool.on('started', ({ server }) => started.push(server));
  pool.on('state', ({ server, state }) => states.push(`${server} ${state}`));
  const server = await RawServer.listen();
  await pool.startServer(fakeServer('local', 'stdio', 'stdio'));
  await pool.startServer({ name: 'remote', transport: 'http', url: server.url });
  expect(started).toEqual(['local', 'remote']);
  await pool.close();
  for (const name of ['local', 'remote']) {
    expect(states.filter((each) => each.startsWith(name))).toEqual([
      `${name} starting`,
      `${name} ready`,
      `${name} stopping`,
      `${name} stopped`,
    ]);
  }
  expect(pool.state('remote')).toBe('stopped');
  expect([net.live.size, lent.map(({ closes }) => closes)]).toEqual([0, [0, 0]]);
  await expect(pool.request('local', 'ping')).rejects.toThrow(ClosedError);
  await expect(pool.request('unknown', 'ping')).rejects.toThrow(ClosedError);
});

test('what does not end is told by the close, with all of it, after everything was tried', async () => {
  const wrapConnection = (connection: Connection): Connection => {
    const { close } = connection;
    connection.close = async (options) => {
      await close.call(connection, options);
      throw new Error(`${connection.server} is stuck`);
    };
    return connection;
  };
  const pool = new UnifiedPool({ wrapConnection });
  const server = await RawServer.listen();
  const old = await RawSse.listen();
  await pool.startServer({ name: 'remote', transport: 'http', url: server.url });
  await pool.startServer({ name: 'old', transport: 'sse', url: old.url });
  const closed = pool.close({ graceMs: 0 });
  expect(pool.close()).toBe(closed);
  const error = (await closed.catch((thrown: unknown) => thrown)) as AggregateError;
  expect(error).toBeInstanceOf(AggregateError);
  const said = [error, ...error.errors].map(messageOf).join(' ');
  expect(said).toContain('remote is stuck');
  expect(said).toContain('old is stuck');
});

test('a call while its server is replaced by an apply waits, and is answered by the new one', async () => {
  const { connectors, net } = fakeTransports();
  const pool = unifiedPool({ connectors });
  await pool.startServer(fakeServer('x', 'http', 'http', 1));
  const lease = await pool.lease('x');
  const applied = pool.apply([fakeServer('x', 'http', 'http', 2)]);
  await new Promise((resolve) => setImmediate(resolve));
  const call = pool.request('x', 'ping');
  expect(net.starts).toHaveLength(1);
  lease.release();
  expect(await call).toMatchObject({ address: 'http-2' });
  expect((await applied).restarted).toEqual(['x']);
});

/** Targets by number, in the order in which they are tried. */
const targets = (numbers: readonly number[], settings: object = {}): ServerConfig => ({
  name: 'app',
  balance: 'failover',
  drainMs: 3_600_000,
  targets: numbers.map((number) => ({ transport: 'http', url: `http://http-${number}/` })),
  ...settings,
});

test('an apply holds at once while targets of an earlier one are drained, and the last one wins', async () => {
  const { connectors, net } = fakeTransports();
  const pool = unifiedPool({ connectors });
  const [x, y] = [fakeServer('x', 'http', 'http'), fakeServer('y', 'http', 'http')];
  await pool.apply([targets([1, 2]), x]);
  const lease = await pool.lease('app');
  const drained = pool.apply([targets([2]), x]);
  expect(await pool.apply([targets([2])])).toMatchObject({ removed: ['x'] });
  expect(() => pool.state('x')).toThrow(ServerNotFoundError);
  expect(await pool.request('app', 'ping')).toMatchObject({ address: 'http-2' });
  // Back before it is drained: calls go to one set of targets, the new one.
  expect(await pool.apply([targets([1, 2]), y])).toMatchObject({ added: ['y'], updated: ['app'] });
  const roles = (): unknown => pool.stats('app').targets?.map(({ role }) => role);
  expect(roles()).toEqual(['target', 'target', 'draining']);
  expect(await pool.request('app', 'ping')).toMatchObject({ address: 'http-1' });
  expect(lease.signal.aborted).toBe(false);
  lease.release();
  expect(await drained).toMatchObject({ updated: ['app'] });
  expect(roles()).toEqual(['target', 'target']);
  expect(net.live.size).toBe(2);
});

test('a server that is back before it is gone has one live set, that of the last config', async () => {
  const { connectors, net } = fakeTransports();
  const pool = unifiedPool({ connectors });
  const x = (version: number): ServerConfig => fakeServer('x', 'http', 'http', version);
  await pool.startServer(x(1));
  const lease = await pool.lease('x');
  const removed = pool.apply([]);
  expect(await pool.apply([x(2)])).toMatchObject({ added: ['x'] });
  const call = pool.request('x', 'ping');
  const replaced = pool.apply([x(3)]);
  await new Promise(setImmediate);
  expect(net.starts).toHaveLength(1);
  lease.release();
  expect(await call).toMatchObject({ address: 'http-3' });
  expect((await removed).removed).toEqual(['x']);
  expect((await replaced).restarted).toEqual(['x']);
  expect(net.starts).toHaveLength(2);
  expect(net.live.size).toBe(1);
});

test('one that was up and is replaced twice before it is gone is started again', async () => {
  const { connectors } = fakeTransports();
  const pool = unifiedPool({ connectors });
  await pool.startServer(fakeServer('x', 'http', 'http', 1));
  const lease = await pool.lease('x');
  const applied = [2, 3].map((version) => pool.apply([fakeServer('x', 'http', 'http', version)]));
  await new Promise(setImmediate);
  lease.release();
  await Promise.all(applied);
  await expect.poll(() => pool.state('x')).toBe('ready');
});

test('a server of targets that is replaced while one is drained is gone within the grace; a close waits for all', async () => {
  const { connectors, net } = fakeTransports();
  const clock = new FakeClock();
  const pool = unifiedPool({ connectors, clock });
  await pool.apply([targets([1, 2])]);
  const lease = await pool.lease('app');
  const drained = pool.apply([targets([2])]);
  const replaced = pool.apply([targets([2], { maxQueue: 7 })]);
  await new Promise(setImmediate);
  await clock.advance(5_000);
  expect(await replaced).toMatchObject({ restarted: ['app'] });
  await drained;
  expect(lease.signal.aborted).toBe(true);
  await pool.lease('app');
  const ends = [pool.apply([targets([1], { maxQueue: 7 })]), pool.apply([])];
  await new Promise(setImmediate);
  await pool.close({ graceMs: 0 });
  expect(net.live.size).toBe(0);
  await Promise.all(ends);
});

test('a removal that was given more time than the close does not hold it up', async () => {
  const { connectors, net } = fakeTransports();
  const pool = unifiedPool({ connectors });
  await pool.startServer(fakeServer('x', 'sse', 'sse'));
  const lease = await pool.lease('x');
  const removed = pool.removeServer('x', { graceMs: 3_600_000 });
  await pool.close({ graceMs: 0 });
  await removed;
  expect(lease.signal.aborted).toBe(true);
  expect(net.live.size).toBe(0);
});

test('a name belongs to one pool, and an unknown one is told with those that are near', async () => {
  const pool = unifiedPool();
  pool.addServer(everything('weather'));
  expect(() => pool.addServer({ name: 'weather', url: 'http://127.0.0.1:1/' })).toThrow(OptionError);
  await expect(pool.request('wether', 'ping')).rejects.toMatchObject({ near: ['weather'] });
  expect(() => pool.state('nothing')).toThrow(ServerNotFoundError);
});

test('maxConnectionsTotal is one bound over all transports: what is idle on one gives way to another', async () => {
  const { url } = await everythingHttp();
  const pool = unifiedPool({ maxConnectionsTotal: 1 });
  pool.addServer(everything('local'));
  pool.addServer({ name: 'remote', transport: 'http', url });
  for (const name of ['local', 'remote', 'local']) {
    expect(await echo(pool, name, 'hi')).toBe('Echo: hi');
    expect(pool.allStats().filter(({ connections }) => connections > 0)).toMatchObject([{ name }]);
  }
});
