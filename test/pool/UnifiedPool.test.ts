import { expect, test } from 'vitest';
import { OptionError, ServerNotFoundError, StartError } from '../../src/core/errors.js';
import { UnifiedPool, type UnifiedPoolOptions } from '../../src/pool/UnifiedPool.js';
import type { ServerConfig } from '../../src/registry/ServerConfig.js';
import { closeAfter } from '../support/closeAfter.js';
import { everythingHttp, everythingSse, freePort } from '../support/httpServers.js';
import { everything } from '../support/servers.js';
import { said } from '../support/stdioPool.js';

function unifiedPool(options: UnifiedPoolOptions = {}): UnifiedPool {
  return closeAfter(new UnifiedPool(options));
}

const echo = (pool: UnifiedPool, name: string, message: string): Promise<string> =>
  said(pool.request(name, 'tools/call', { name: 'echo', arguments: { message } }));

test('servers of all three wires answer under one roof, and none disturbs the others when one is killed', async () => {
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
  expect(pool.allStats().map(({ name }) => name)).toEqual(['local', 'remote', 'nowhere', 'old']);
});

test('a URL whose wire nobody said is found out on its first use, and remembered', async () => {
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

test('a refused connection says nothing about a wire: the start fails and the next use tries again', async () => {
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

test('a name belongs to one pool, and an unknown one is told with those that are near', async () => {
  const pool = unifiedPool();
  pool.addServer(everything('weather'));
  expect(() => pool.addServer({ name: 'weather', url: 'http://127.0.0.1:1/' })).toThrow(OptionError);
  await expect(pool.request('wether', 'ping')).rejects.toMatchObject({ near: ['weather'] });
  expect(() => pool.state('nothing')).toThrow(ServerNotFoundError);
});
