import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '..');
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  exports: Record<string, { types: string } | string>;
};

/** Whose docs are still to be completed, by folder of the declaration. This list only ever gets shorter. */
const UNFINISHED: readonly string[] = [];

interface Declared {
  readonly file: string;
  readonly name: string;
}

/** The option interfaces a declaration file exports, each with the file that declares it. */
function exportedOptions(index: string): Declared[] {
  const text = readFileSync(index, 'utf8');
  return [...text.matchAll(/^export (?:type )?\{([^}]*)\} from '([^']+)\.js'/gm)].flatMap(
    ([, names = '', from = '']) => {
      const file = resolve(dirname(index), `${from}.d.ts`);
      if (file.endsWith('index.d.ts') || file === join(root, 'dist/errors.d.ts')) return [];
      return names
        .split(',')
        .map((name) => name.trim().replace(/^type /, ''))
        .filter((name) => /(Options|Settings|Config|Target)$/.test(name))
        .map((name) => ({ file, name }));
    },
  );
}

/** What is wrong with the docs of one interface and of those it extends. */
function faultsOf({ file, name }: Declared): string[] {
  const text = readFileSync(file, 'utf8');
  const found = new RegExp(`^export interface ${name}(?:<.*>)?(?: extends ([^{]*))? \\{\\n([\\s\\S]*?)^\\}`, 'm').exec(
    text,
  );
  if (found === null) return [];
  const [, parents = '', body = ''] = found;
  const inherited = [...parents.matchAll(/\b[A-Z]\w+/g)].flatMap(([parent]) => {
    const from = new RegExp(`^import [^;]*\\b${parent}\\b[^;]* from '(\\.[^']+)\\.js'`, 'm').exec(text)?.[1];
    return faultsOf({ file: from === undefined ? file : resolve(dirname(file), `${from}.d.ts`), name: parent });
  });
  const members = /^ {4}(\/\*\*(?:(?!\*\/)[\s\S])*\*\/\n {4})?(?:readonly )?(\w+)(\?)?[:(]/gm;
  const own = [...body.matchAll(members)].flatMap(([, doc = '', property, optional]) => {
    const words = doc.replace(/@defaultValue[\s\S]*/, '').replace(/[/*\s]/g, '');
    const missing = [
      ...(words === '' ? ['its meaning'] : []),
      ...(optional !== undefined && !/@defaultValue \S/.test(doc) ? ['@defaultValue'] : []),
    ];
    return missing.length === 0 ? [] : [`${name}.${property} lacks ${missing.join(' and ')}`];
  });
  return UNFINISHED.some((room) => file.startsWith(join(root, 'dist', room))) ? inherited : [...own, ...inherited];
}

for (const [subpath, target] of Object.entries(manifest.exports)) {
  if (typeof target === 'string' || subpath === '.' || !existsSync(join(root, target.types))) continue;
  test(`${subpath}: every option says what it means, and every optional one its default`, () => {
    const options = exportedOptions(join(root, target.types));
    expect(options.flatMap(faultsOf)).toEqual([]);
  });
}

test('the reader of declarations finds options and their docs', () => {
  const registry = join(root, 'dist/registry/index.d.ts');
  if (!existsSync(registry)) return;
  expect(exportedOptions(registry).map(({ name }) => name)).toContain('ServerSettings');
});
