import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';

const src = resolve(import.meta.dirname, '../src');

/**
 * `table[key]` of an object literal answers `constructor`, `__proto__` and `toString` with what it inherits. Where the keys are
 * any string, they may be a peer's: such a table is a Map, or asks `Object.hasOwn` first.
 */
test('no object literal is a table by keys that may be any string', () => {
  const found: string[] = [];
  for (const file of readdirSync(src, { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.ts')) continue;
    const text = readFileSync(join(src, file), 'utf8');
    for (const [, name = ''] of text.matchAll(
      /^(?:export )?const (\w+): (?:Readonly<)?Record<string,[^=\n]*= (?:Object\.freeze\()?\{/gm,
    )) {
      const looked = new RegExp(String.raw`\b${name}\[(?!['"\d])`).test(text);
      if (looked && !new RegExp(String.raw`Object\.hasOwn\(${name}\b`).test(text)) found.push(`${file}: ${name}`);
    }
  }
  expect(found).toEqual([]);
});
