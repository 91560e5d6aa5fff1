import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RUNS } from '../support/runs.js';
import { CacheHouse, tools } from './fixtureCache.js';

const NAMES = fc.oneof(
  fc.string({ unit: 'binary', minLength: 1 }),
  fc.string({ unit: 'grapheme', minLength: 1 }),
  fc.constantFrom('a/b', 'a_b', '../../etc/passwd', '.', '..', 'CON', 'x'.repeat(5_000), '\u0000', 'é', 'e\u0301'),
  fc.constantFrom('\ud800', '\ud801', '\ufffd', 'A', 'a', 'null', '__proto__', 'a:b', 'a\nb'),
);

test('every name, fingerprint and scope is a key of its own, in a file of its own inside the directory', async () => {
  const part = fc.record({ name: NAMES, fingerprint: fc.option(NAMES), scope: fc.option(NAMES) });
  const house = new CacheHouse();
  let round = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(part, { minLength: 1, maxLength: 6, selector: (p) => JSON.stringify(p) }),
      async (parts) => {
        const directory = join(house.directory, String(round++));
        const cache = house.open({ directory });
        const ref = ({ name, fingerprint }: (typeof parts)[number]) =>
          fingerprint === null ? name : { name, fingerprint };
        await Promise.all(parts.map((p, i) => cache.setTools(ref(p), tools(`t${i}`), p.scope ?? undefined)));
        const again = house.open({ directory });
        for (const [i, p] of parts.entries()) {
          expect(await again.getTools(ref(p), p.scope ?? undefined)).toEqual(tools(`t${i}`));
        }
        const names = readdirSync(join(directory, 'v1'));
        expect(names.length).toBe(parts.length);
        expect(names.every((name) => /^[-0-9a-z]+\.json$/.test(name))).toBe(true);
        expect(readdirSync(directory)).toEqual(['v1']);
        expect(await again.listServers()).toEqual([...new Set(parts.map(({ name }) => name))].sort());
        await Promise.all([cache.close(), again.close()]);
      },
    ),
    { numRuns: Math.min(RUNS, 100) },
  );
});

test('keys that look alike when joined, escaped or encoded are not mixed up, in memory or on disk', async () => {
  const house = new CacheHouse();
  const cache = house.open();
  const keys: [{ name: string; fingerprint?: string }, string?][] = [
    [{ name: 'ab', fingerprint: 'c' }],
    [{ name: 'a', fingerprint: 'bc' }],
    [{ name: 'abc' }],
    [{ name: 'ab' }, 'c'],
    [{ name: 'ab', fingerprint: ':c' }],
    [{ name: 'ab:c' }],
    [{ name: 'ab' }, ':c'],
    [{ name: 'a,b' }],
    [{ name: 'a', fingerprint: ',b' }],
    [{ name: '\ud800' }],
    [{ name: '\ud801' }],
    [{ name: '\ufffd' }],
    [{ name: 'é' }],
    [{ name: 'e\u0301' }],
    [{ name: 'x' }, 'null'],
    [{ name: 'x' }],
  ];
  for (const [i, [server, scope]] of keys.entries()) await cache.setTools(server, tools(String(i)), scope);
  const again = house.open();
  for (const [i, [server, scope]] of keys.entries()) {
    expect(await cache.getTools(server, scope)).toEqual(tools(String(i)));
    expect(await again.getTools(server, scope)).toEqual(tools(String(i)));
  }
  await cache.set('key', 'json');
  await cache.eraStore().set('key', { era: 'legacy', at: 0 });
  expect(await cache.get('key')).toBe('json');
});

test('no part of a key that may be secret stands in a file', async () => {
  const house = new CacheHouse();
  const cache = house.open();
  await cache.setTools({ name: 'github', fingerprint: 'fp-secret' }, tools('a'), 'scope-secret');
  expect(readFileSync(house.file(), 'utf8')).not.toContain('secret');
});
