import { expect, test } from 'vitest';
import { systemClock } from '../../src/core/clock.js';
import { ToolCatalog } from '../../src/gateway/ToolCatalog.js';
import { fingerprint } from '../../src/registry/config/fingerprint.js';
import { closeAfter } from '../support/closeAfter.js';
import { everything } from '../support/everything.js';
import { stdioPool } from '../support/stdioPool.js';
import { CacheHouse } from '../toolstore/fixtureCache.js';

test('a real server is listed once, its list outlives it and the proxy, and its changes are noticed', async () => {
  const house = new CacheHouse();
  const config = everything();
  const cache = house.open({ clock: systemClock, defaultTtlMs: 60_000 });
  const pool = stdioPool();
  pool.addServer(config);
  const catalog = closeAfter(new ToolCatalog({ pool, cache, fingerprint: () => fingerprint(config) }));
  const [first, second] = await Promise.all([catalog.tools('everything'), catalog.tools('everything')]);
  expect(first.tools.map(({ name }) => name)).toContain('echo');
  expect(second.tools).toEqual(first.tools);
  expect(cache.stats.loads).toBe(1);
  await pool.close();
  await cache.close();

  // The proxy starts again, its server does not: same name and configuration, a pool that cannot start it.
  const later = house.open({ clock: systemClock });
  const broken = stdioPool();
  broken.addServer({ ...config, command: '/nonexistent/program' });
  const again = closeAfter(new ToolCatalog({ pool: broken, cache: later, fingerprint: () => fingerprint(config) }));
  // Stale or not: this server says now and then, after its start, that its list has changed.
  expect((await again.tools('everything')).tools).toEqual(first.tools);
  await later.invalidate('everything');
  await expect(again.tools('everything')).rejects.toMatchObject({ acted: 'no', retryable: true });
});

test('a list whose server died stays on offer, marked stale', async () => {
  const house = new CacheHouse();
  const cache = house.open({ clock: systemClock });
  const pool = stdioPool();
  pool.addServer(everything());
  const catalog = closeAfter(new ToolCatalog({ pool, cache }));
  const { tools } = await catalog.tools('everything');
  await pool.stopServer('everything');
  expect(await catalog.tools('everything')).toMatchObject({ tools, stale: true });
  await expect.poll(() => cache.stats.loadFailures).toBe(1);
  expect(await catalog.tools('everything')).toMatchObject({ tools, stale: true });
});
