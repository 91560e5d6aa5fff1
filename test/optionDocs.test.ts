import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { type Declared, exportedInterfaces, membersOf } from '../scripts/options/declarations.mjs';

const root = resolve(import.meta.dirname, '..');
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  exports: Record<string, { types: string } | string>;
};

/** The option interfaces a declaration file exports, each with the file that declares it. */
function exportedOptions(index: string): Declared[] {
  return exportedInterfaces(index).filter(
    ({ file, name }) => !file.endsWith('index.d.ts') && /^[A-Z].*(Options|Settings|Config|Target)$/.test(name),
  );
}

/** What is wrong with the docs of one interface and of those it extends. */
function faultsOf({ file, name }: Declared): string[] {
  return (membersOf(file, name) ?? []).flatMap(({ name: property, of, optional, words, standard, deprecated }) => {
    const missing = [
      ...(words === '' && !deprecated ? ['its meaning'] : []),
      ...(optional && (standard ?? '') === '' ? ['@defaultValue'] : []),
    ];
    return missing.length === 0 ? [] : [`${of}.${property} lacks ${missing.join(' and ')}`];
  });
}

for (const [subpath, target] of Object.entries(manifest.exports)) {
  if (typeof target === 'string' || ['.', './errors'].includes(subpath) || !existsSync(join(root, target.types)))
    continue;
  test(`${subpath}: every option says what it means, and every optional one its default`, () => {
    const options = exportedOptions(join(root, target.types));
    expect(options.flatMap(faultsOf)).toEqual([]);
  });
}

test('the reader of declarations finds options, their docs and what they inherit', () => {
  const registry = exportedOptions(join(root, 'dist/registry/index.d.ts'));
  expect(registry.map(({ name }) => name)).toContain('ServerSettings');
  const keyed = exportedOptions(join(root, 'dist/pool/index.d.ts')).find(({ name }) => name === 'KeyedPoolOptions');
  const members = keyed === undefined ? [] : (membersOf(keyed.file, keyed.name) ?? []);
  expect(members.find(({ name }) => name === 'maxPerKey')).toEqual({
    name: 'maxPerKey',
    of: 'KeyedPoolOptions',
    optional: true,
    type: 'number',
    words: 'Most resources of one key, from 1; `Infinity`: only `maxResources` bounds it.',
    standard: 'Infinity',
    deprecated: false,
  });
  expect(members.find(({ name }) => name === 'parkAfterMs')?.of).toBe('ResourcePoolOptions');
  expect(members.find(({ name }) => name === 'minResources')).toBeUndefined();
});

test('every table of options is made from the types, and every @defaultValue is what the code takes', () => {
  const { status, stderr } = spawnSync(process.execPath, ['scripts/options.mjs', '--check'], {
    cwd: root,
    encoding: 'utf8',
  });
  expect([status, stderr]).toEqual([0, '']);
});
