import { expect, test, vi } from 'vitest';
import { silentLogger } from '../../src/core/logger.js';
import { Catalog } from '../../src/gateway/aggregate/lists/Catalog.js';
import type { CatalogSource } from '../../src/gateway/aggregate/lists/KnownLists.js';
import { ListFailures } from '../../src/gateway/aggregate/lists/ListFailures.js';
import type { CatalogOptions } from '../../src/gateway/aggregate/lists/ServerList.js';
import type { Downstream } from '../../src/gateway/endpoint/Endpoint.js';
import { FakeClock } from '../../src/testing/FakeClock.js';

type Prompts = CatalogSource<{ readonly name: string }>['list'];

/** The prompts of a server, as clients are told them. */
function catalogOf(clock: FakeClock, list: Prompts, isBound = false) {
  const onChange = vi.fn();
  const pool = {
    servers: () => ['s'],
    hasServer: () => true,
    info: () => ({ capabilities: { prompts: { listChanged: true } } }),
    state: () => 'ready',
  };
  const failures = new ListFailures({ listAll: () => Promise.reject(new Error('not asked')) }, clock);
  const options = {
    pool,
    callers: {
      isBound: () => isBound,
      isShutOut: () => false,
      settled: async (_: string, session: object) => session,
      failures,
    },
    listTimeoutMs: 10_000,
    serverWaitMs: 2_000,
    clock,
    logger: silentLogger,
    signal: new AbortController().signal,
  } as unknown as CatalogOptions;
  const catalog = new Catalog(
    'prompts',
    options,
    { list, refresh: (server, signal) => list(server, { signal }) },
    onChange,
  );
  return { catalog, onChange, session: {} as Downstream };
}

/** How often a server is asked whose list of prompts is over as soon as it is told, by a client that asks three times, and once five minutes later. */
async function asked(prompts: number): Promise<readonly number[]> {
  const clock = new FakeClock();
  const items = Array.from({ length: prompts }, (_, i) => ({ name: `prompt-${i}`, description: 'x'.repeat(100) }));
  let count = 0;
  const { catalog, session } = catalogOf(clock, async () => {
    count++;
    return { items, ttlMs: 0, cacheScope: 'private', stale: false } as const;
  });
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

test('clients wait a moment only for a list that did not come in all of its time; it is told when it does, and when a pause is over they wait again', async () => {
  const clock = new FakeClock();
  const asked: ((items: readonly { name: string }[]) => void)[] = [];
  const { catalog, onChange, session } = catalogOf(
    clock,
    () => new Promise((resolve) => void asked.push((items) => resolve({ items, stale: false }))),
  );
  /** How long a client waits, in steps of 50 ms, and what it is shown. */
  const waits = async (): Promise<readonly [ms: number, items: number]> => {
    let shown: number | undefined;
    void catalog.lists(session).then(([list]) => {
      shown = list?.items.length;
    });
    let ms = 0;
    for (; shown === undefined; ms += 50) await clock.advance(50);
    return [ms, shown];
  };
  expect(await waits()).toEqual([2_000, 0]);
  // It is slow, and not known to say nothing.
  await clock.advance(6_000);
  expect(await waits()).toEqual([2_000, 0]);
  expect(asked).toHaveLength(1);
  await clock.advance(1_000);
  expect(await waits()).toEqual([250, 0]);
  expect(asked).toHaveLength(2);
  await clock.advance(10_000);
  expect(await waits()).toEqual([250, 0]);
  await clock.advance(130_000);
  expect(await waits()).toEqual([2_000, 0]);
  await clock.advance(10_000);
  expect(await waits()).toEqual([250, 0]);
  expect(onChange).not.toHaveBeenCalled();
  asked.at(-1)?.([{ name: 'late' }]);
  await expect.poll(() => onChange.mock.calls).toEqual([[undefined]]);
  expect(await waits()).toEqual([50, 1]);
  // It came: it is waited for as any is.
  catalog.invalidate('s');
  expect(await waits()).toEqual([2_000, 0]);
});

test('what the process of one session leaves unanswered shortens no wait of another session', async () => {
  const clock = new FakeClock();
  const hung = {} as Downstream;
  const slow: Prompts = async (_, { caller }) => {
    await new Promise<void>((resolve) => void (caller === (hung as unknown) || clock.setTimer(resolve, 1_000)));
    return { items: [{ name: 'slow' }], stale: false };
  };
  const { catalog, session } = catalogOf(clock, slow, true);
  void catalog.lists(hung);
  await clock.advance(10_000);
  let shown: unknown;
  void catalog.lists(session).then(([list]) => {
    shown = list?.items;
  });
  for (let ms = 0; ms < 1_500; ms += 50) await clock.advance(50);
  expect(shown).toEqual([{ name: 'slow' }]);
});
