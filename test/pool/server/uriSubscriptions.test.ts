import { expect, test, vi } from 'vitest';
import type { StdioPool } from '../../../src/pool/StdioPool.js';
import { Watchers } from '../../../src/pool/server/partitions/Watchers.js';
import { countTurns } from '../../support/countTurns.js';
import { fixture } from '../../support/servers.js';
import { stdioPool } from '../../support/stdioPool.js';

/** What a server is asked to tell of, when callers subscribe to much and leave. */

interface Count {
  readonly subscribe: number;
  readonly unsubscribe: number;
  readonly subscribed: readonly string[];
}

const urisOf = (name: string, count: number): string[] => Array.from({ length: count }, (_, at) => `${name}:${at}`);

function counting(...flags: readonly string[]): StdioPool {
  const pool = stdioPool();
  const args = [fixture('uri-counter.mjs'), ...flags];
  pool.addServer({ name: 'counter', transport: 'stdio', command: process.execPath, args });
  return pool;
}

async function countOf(pool: StdioPool): Promise<Count> {
  const result = await pool.request('counter', 'tools/call', { name: 'count', arguments: {} });
  return JSON.parse((result as { content: { text: string }[] }).content[0]?.text ?? '') as Count;
}

const subscribe = (pool: StdioPool, resourceUris: readonly string[], signal?: AbortSignal, origin = 'a') =>
  pool.subscribe(
    'counter',
    { resourceUris },
    { onNotification: () => undefined, caller: { origin }, ...(signal && { signal }) },
  );

test('a caller that subscribes to a thousand URIs and leaves at once costs its server few messages', async () => {
  const pool = counting();
  await countOf(pool);
  for (let round = 0; round < 5; round++) {
    const gone = new AbortController();
    const left = subscribe(pool, urisOf(`r${round}`, 1_000), gone.signal).catch((error: unknown) => error);
    for (let turns = 0; turns < 3; turns++) await new Promise((resolve) => setImmediate(resolve));
    gone.abort(new Error('it left'));
    expect(await left).toMatchObject({ message: 'it left' });
  }
  await vi.waitFor(async () => expect((await countOf(pool)).subscribed).toEqual([]));
  const { subscribe: asked, unsubscribe } = await countOf(pool);
  expect(asked).toBeLessThan(2_500);
  // What was given up in the moment of its sending may have been asked for, or not.
  expect(unsubscribe).toBeLessThanOrEqual(asked + 5 * 32);
});

test('all of a thousand URIs are asked for, and given back, some at a time', async () => {
  const pool = counting();
  const subscription = await subscribe(pool, urisOf('u', 1_000));
  expect((await countOf(pool)).subscribed).toHaveLength(1_000);
  await subscription.close();
  await vi.waitFor(async () => expect((await countOf(pool)).subscribed).toEqual([]));
});

test('what is wanted again while it is given back is subscribed to in the end', async () => {
  const pool = counting();
  for (let round = 0; round < 20; round++) {
    const first = await subscribe(pool, ['u:1', 'u:2']);
    const left = first.close();
    const second = await subscribe(pool, ['u:1', 'u:2']);
    await left;
    expect((await countOf(pool)).subscribed.toSorted()).toEqual(['u:1', 'u:2']);
    await second.close();
    expect((await countOf(pool)).subscribed).toEqual([]);
  }
});

test('what is given up while it is asked for, and wanted again at once, is subscribed to in the end', async () => {
  const pool = counting();
  await countOf(pool);
  const gone = new AbortController();
  const first = subscribe(pool, ['u:1'], gone.signal).catch(() => undefined);
  await vi.waitFor(async () => expect((await countOf(pool)).subscribe).toBe(1));
  gone.abort();
  await subscribe(pool, ['u:1']);
  await first;
  expect((await countOf(pool)).subscribed).toEqual(['u:1']);
});

test('callers take turns at a server that answers no subscription, and one that leaves makes room', async () => {
  const pool = counting('--silent');
  await countOf(pool);
  const gone = new AbortController();
  const many = subscribe(pool, urisOf('many', 500), gone.signal).catch(() => 'left');
  await vi.waitFor(async () => expect((await countOf(pool)).subscribe).toBe(32));
  const other = subscribe(pool, ['other:1'], undefined, 'b').catch(() => undefined);
  expect((await countOf(pool)).subscribed).not.toContain('other:1');
  gone.abort();
  expect(await many).toBe('left');
  await vi.waitFor(async () => expect((await countOf(pool)).subscribed).toContain('other:1'));
  expect((await countOf(pool)).subscribe).toBe(33);
  await pool.close({ graceMs: 0 });
  await other;
});

test('a server that is back is asked for what all are subscribed to in turns of the event loop', async () => {
  const pool = counting();
  const uris = urisOf('u', 100);
  await Promise.all(uris.map((uri) => subscribe(pool, [uri])));
  const { add } = Watchers.prototype;
  const taken: number[] = [];
  using turns = countTurns();
  using _ = vi.spyOn(Watchers.prototype, 'add').mockImplementation(function (this: Watchers<never>, watcher) {
    taken.push(turns.count);
    const untilMs = performance.now() + 0.5;
    while (performance.now() < untilMs);
    add.call(this, watcher);
  });
  await pool.restartServer('counter');
  await vi.waitFor(async () => expect((await countOf(pool)).subscribed.toSorted()).toEqual(uris.toSorted()));
  // Each takes half a ms, and 8 ms are the share of a turn.
  expect(new Set(taken).size).toBeGreaterThan(2);
});

test('what is given back aborts nothing that none waits for: the error that tells of it costs more than all the rest', async () => {
  const pool = counting();
  const subscriptions = await Promise.all(urisOf('u', 5).map((uri) => subscribe(pool, [uri])));
  using abort = vi.spyOn(AbortController.prototype, 'abort');
  await Promise.all(subscriptions.map((each) => each.close()));
  await Promise.all(subscriptions.map(({ ended }) => ended));
  expect(abort).not.toHaveBeenCalled();
});
