import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Bulkhead, type BulkheadPermit } from '../../../src/concurrent/index.js';
import { OptionError } from '../../../src/errors.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';

test('one key that hangs leaves the others alone; its own callers wait in turn', async () => {
  const clock = new FakeClock();
  const bulkhead = new Bulkhead({ maxConcurrent: 2, perKey: { big: 3 }, maxQueue: 1, acquireTimeoutMs: 100, clock });
  const slow = [await bulkhead.acquire('slow'), await bulkhead.acquire('slow')] as const;
  const waiting = bulkhead.acquire('slow');
  await expect(bulkhead.acquire('slow')).rejects.toMatchObject({ code: 'ERR_QUEUE_FULL' });
  expect(bulkhead.tryAcquire('slow')).toBeUndefined();
  expect(await bulkhead.run('other', () => 'fine')).toBe('fine');
  for (let i = 0; i < 3; i++) expect(bulkhead.tryAcquire('big')).toBeDefined();
  expect(bulkhead.tryAcquire('big')).toBeUndefined();
  expect(bulkhead.inspect()).toMatchObject({ keys: 2, inUse: 5, waiting: 1 });
  slow[0].release();
  slow[0].release();
  expect((await waiting).key).toBe('slow');
  const late = bulkhead.acquire('slow').catch((error: unknown) => error);
  await clock.advance(120);
  expect(await late).toMatchObject({ code: 'ERR_ACQUIRE_TIMEOUT' });
  const left = new AbortController();
  const leaving = bulkhead.acquire('slow', { signal: left.signal }).catch((error: unknown) => error);
  left.abort('never mind');
  expect(await leaving).toBe('never mind');
  const refused = bulkhead.acquire('slow').catch((error: unknown) => error);
  await bulkhead.close({ graceMs: 0 }).catch(() => undefined);
  expect(await refused).toMatchObject({ code: 'ERR_CLOSED' });
  await expect(bulkhead.acquire('new')).rejects.toMatchObject({ code: 'ERR_CLOSED' });
});

test('close waits for permits that are out', async () => {
  const bulkhead = new Bulkhead({ maxConcurrent: 1 });
  const permit = await bulkhead.acquire('a');
  let closed = false;
  const closing = bulkhead.close().then(() => {
    closed = true;
  });
  await new Promise((resolve) => setImmediate(resolve));
  expect(closed).toBe(false);
  permit.release();
  await closing;
  expect(bulkhead.inspect()).toMatchObject({ keys: 0, inUse: 0, closed: true });
});

test('keys in use are bounded, keys at rest are forgotten', async () => {
  const bulkhead = new Bulkhead({ maxConcurrent: 1, maxKeys: 2 });
  const one = await bulkhead.acquire('1');
  await bulkhead.acquire('2');
  await expect(bulkhead.acquire('3')).rejects.toMatchObject({ code: 'ERR_QUEUE_FULL' });
  one.release();
  (await bulkhead.acquire('3')).release();
  for (let i = 0; i < 100; i++) (await bulkhead.acquire(`${i + 10}`)).release();
  expect(bulkhead.inspect().keys).toBe(1);
});

test('keys of one owner leave room for those of others', async () => {
  const bulkhead = new Bulkhead({ maxConcurrent: 1, maxKeys: 100, acquireTimeoutMs: 0 });
  const full = { code: 'ERR_QUEUE_FULL' };
  const permits: (BulkheadPermit | undefined)[] = [];
  for (let count = 0; count < 75; count++) permits.push(bulkhead.tryAcquire(`made-up${count}`, 'eve'));
  await expect(bulkhead.acquire('another', {}, 'eve')).rejects.toMatchObject(full);
  const search = bulkhead.tryAcquire('search', 'ann');
  expect(bulkhead.tryAcquire('search', 'eve')).toBeUndefined();
  for (const owner of ['ann', 'bob', undefined]) expect(bulkhead.tryAcquire(`of ${owner}`, owner)).toBeDefined();
  search?.release();
  // With less for all, one has less.
  permits[0]?.release();
  await expect(bulkhead.acquire('another', {}, 'eve')).rejects.toMatchObject(full);
  for (const permit of permits) permit?.release();
  expect(bulkhead.tryAcquire('another', 'eve')).toBeDefined();
});

test('permits are conserved, per key and first in, first out, under any order', async () => {
  const step = fc.record({
    key: fc.constantFrom('a', 'b'),
    do: fc.constantFrom('acquire', 'acquire', 'release', 'abort', 'try'),
    which: fc.nat(),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60, size: 'max' }), async (steps) => {
      const bulkhead = new Bulkhead({ maxConcurrent: 2, maxQueue: 5, acquireTimeoutMs: Number.POSITIVE_INFINITY });
      const out: Record<string, BulkheadPermit[]> = { a: [], b: [] };
      const model: Record<string, { inUse: number; queue: number[] }> = {
        a: { inUse: 0, queue: [] },
        b: { inUse: 0, queue: [] },
      };
      const served: number[] = [];
      const wanted: number[] = [];
      const aborts = new Map<number, AbortController>();
      let order = 0;
      for (const { key, do: what, which } of steps) {
        const mine = model[key] as (typeof model)[string];
        const held = out[key] as BulkheadPermit[];
        if (what === 'try') {
          const permit = bulkhead.tryAcquire(key);
          expect(permit !== undefined).toBe(mine.inUse < 2);
          if (permit !== undefined) {
            mine.inUse++;
            held.push(permit);
          }
        } else if (what === 'acquire') {
          const me = order++;
          const control = new AbortController();
          aborts.set(me, control);
          const full = mine.inUse >= 2 && mine.queue.length >= 5;
          if (!full && mine.inUse < 2) {
            mine.inUse++;
            wanted.push(me);
          } else if (!full) mine.queue.push(me);
          bulkhead.acquire(key, { signal: control.signal }).then(
            (permit) => {
              served.push(me);
              held.push(permit);
            },
            () => undefined,
          );
        } else if (what === 'abort' && mine.queue.length > 0) {
          const [me] = mine.queue.splice(which % mine.queue.length, 1) as [number];
          aborts.get(me)?.abort('left');
        } else if (what === 'release' && held.length > 0) {
          held.splice(which % held.length, 1)[0]?.release();
          const next = mine.queue.shift();
          if (next === undefined) mine.inUse--;
          else wanted.push(next);
        }
        await new Promise((resolve) => setImmediate(resolve));
        expect(served).toEqual(wanted);
        const { a, b } = model as Record<'a' | 'b', (typeof model)[string]>;
        expect(bulkhead.inspect()).toMatchObject({
          inUse: a.inUse + b.inUse,
          waiting: a.queue.length + b.queue.length,
        });
      }
      for (const permits of Object.values(out)) for (const permit of permits) permit.release();
      await bulkhead.close({ graceMs: 0 }).catch(() => undefined);
    }),
    { numRuns: 60 },
  );
});

test.each([
  [{ maxConcurrent: 0 }, 'maxConcurrent'],
  [{ maxConcurrent: 1, perKey: { a: 0 } }, 'perKey.a'],
  [{ maxConcurrent: 1, maxKeys: 0 }, 'maxKeys'],
])('refuses %j', (options, name) => {
  expect(() => new Bulkhead(options)).toThrow(OptionError);
  expect(() => new Bulkhead(options)).toThrow(name);
});
