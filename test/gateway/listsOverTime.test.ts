import { expect, test } from 'vitest';
import { silentLogger } from '../../src/core/logger.js';
import { Catalog, type CatalogOptions } from '../../src/gateway/aggregate/lists/Catalog.js';
import type { Downstream } from '../../src/gateway/endpoint/Endpoint.js';
import { FakeClock } from '../../src/testing/FakeClock.js';

/** How often a server is asked whose list of prompts is over as soon as it is told, by a client that asks three times, and once five minutes later. */
async function asked(prompts: number): Promise<readonly number[]> {
  const clock = new FakeClock();
  const items = Array.from({ length: prompts }, (_, i) => ({ name: `prompt-${i}`, description: 'x'.repeat(100) }));
  let count = 0;
  const list = async () => {
    count++;
    return { items, ttlMs: 0, cacheScope: 'private', stale: false } as const;
  };
  const options = {
    pool: { servers: () => ['s'], info: () => undefined, state: () => 'ready' },
    callers: { isBound: () => false, settled: async () => undefined },
    listTimeoutMs: 10_000,
    serverWaitMs: 10_000,
    clock,
    logger: silentLogger,
    signal: new AbortController().signal,
  } as unknown as CatalogOptions;
  const catalog = new Catalog('prompts', options, { list, refresh: list }, () => undefined);
  const session = {} as Downstream;
  for (let i = 0; i < 3; i++) expect(await catalog.list('s', session, true)).toHaveLength(prompts);
  const soon = count;
  await clock.advance(300_000);
  await catalog.list('s', session, true);
  return [soon, count];
}

test('a large list whose time is over at once is read again after a rest alone; a small one whenever it is asked for', async () => {
  expect(await asked(5_000)).toEqual([1, 2]);
  expect(await asked(10)).toEqual([3, 4]);
});
