import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { expect, test } from 'vitest';

/** What each folder may import, besides itself: the arrows of the house. `.` is the package's own entry. */
const ARROWS: Readonly<Record<string, readonly string[]>> = {
  core: [],
  concurrent: ['core'],
  toolstore: ['core'],
  shutdown: ['core'],
  registry: ['core', 'concurrent'],
  connection: ['core', 'concurrent', 'registry'],
  targets: ['core', 'concurrent', 'registry', 'connection'],
  pool: ['core', 'concurrent', 'registry', 'connection', 'targets'],
  middleware: ['core', 'concurrent', 'registry', 'connection', 'pool'],
  auth: ['core', 'registry', 'connection', 'pool'],
  testing: ['core', 'registry', 'connection', 'pool'],
  observe: ['core', 'concurrent', 'registry', 'connection', 'pool'],
  gateway: [
    'targets',
    'observe',
    'middleware',
    'core',
    'concurrent',
    'registry',
    'connection',
    'pool',
    'toolstore',
    'shutdown',
  ],
  bench: ['core', 'concurrent', 'registry', 'connection', 'pool', 'testing'],
  cli: [
    'observe',
    'core',
    'bench',
    'concurrent',
    'registry',
    'connection',
    'pool',
    'toolstore',
    'shutdown',
    'gateway',
    'auth',
    'testing',
    '.',
  ],
  '.': ['core', 'concurrent', 'registry', 'connection', 'pool', 'toolstore', 'shutdown', 'gateway'],
};

const SRC = resolve(import.meta.dirname, '../src');

interface Import {
  readonly from: string;
  readonly to: string;
}

const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));

/** Every specifier a file imports or re-exports, types and `import()` included. */
function specifiersOf(source: string): string[] {
  const code = source.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');
  return [...code.matchAll(/(?:\bfrom\s*|\bimport\s*\(?\s*|\brequire\s*\(\s*)(['"])([^'"]+)\1/g)].map(
    (hit) => hit[2] ?? '',
  );
}

const imports: readonly Import[] = files.flatMap((file) =>
  specifiersOf(readFileSync(join(SRC, file), 'utf8'))
    .filter((specifier) => specifier.startsWith('.'))
    .map((specifier) => ({
      from: file,
      to: relative(SRC, resolve(SRC, dirname(file), specifier)).replace(/\.js$/, '.ts'),
    })),
);

const roomOf = (file: string): string => (file.includes('/') ? (file.split('/')[0] ?? '.') : '.');

test('there are files and imports to check', () => {
  expect(files.length).toBeGreaterThan(10);
  expect(imports.length).toBeGreaterThan(10);
  expect(specifiersOf(`import a from './a.js';\nexport {b} from "../b.js";\nawait import('./c.js')`)).toEqual([
    './a.js',
    '../b.js',
    './c.js',
  ]);
});

test('imports go only where the house has an arrow', () => {
  const wrong = imports.filter(({ from, to }) => {
    const [a, b] = [roomOf(from), roomOf(to)];
    return a !== b && !ARROWS[a]?.includes(b);
  });
  expect(wrong).toEqual([]);
});

/** The rooms of the pool, each above all that it may import. A file beside rooms is a room of its own. */
const POOL_FLOORS = [
  ['McpPool', 'reports', 'MethodMap', 'ListBounds', 'listAll', 'server/stats', 'server/limits', 'server/callers'],
  ['server/PoolOptions', 'server/options', 'server/callOptions'],
  ['connectors'],
  ['server/context'],
  ['server/connections'],
  ['server/partitions'],
  ['server/calls'],
  ['server/Server', 'server/ServerGroup', 'server/ServerTable', 'server/ServerPool'],
  ['UnifiedPool', 'StdioPool', 'HTTPClientPool', 'SSEPool'],
  ['index'],
] as const;

test('inside the pool imports go down only, sub-folders included', () => {
  const floorOf = (file: string): number => {
    const path = file.slice('pool/'.length).replace(/\.ts$/, '');
    return POOL_FLOORS.findIndex((rooms) => rooms.some((room) => path === room || path.startsWith(`${room}/`)));
  };
  const inside = imports.filter(({ from, to }) => roomOf(from) === 'pool' && roomOf(to) === 'pool');
  expect(inside.filter(({ from, to }) => floorOf(from) < 0 || floorOf(to) < 0)).toEqual([]);
  expect(inside.filter(({ from, to }) => floorOf(to) > floorOf(from))).toEqual([]);
  expect(inside.length).toBeGreaterThan(50);
});

test('core imports nothing but Node', () => {
  const packages = files
    .filter((file) => roomOf(file) === 'core')
    .flatMap((file) => specifiersOf(readFileSync(join(SRC, file), 'utf8')))
    .filter((specifier) => !specifier.startsWith('.') && !specifier.startsWith('node:'));
  expect(packages).toEqual([]);
});

test('index files re-export by name and are not imported from inside src, but by the package entry', () => {
  const wrong = imports.filter(
    ({ from, to }) => to.endsWith('index.ts') && from !== 'index.ts' && !from.endsWith('/index.ts'),
  );
  expect(wrong).toEqual([]);
  const stars = files.filter((file) => /export \*/.test(readFileSync(join(SRC, file), 'utf8')));
  expect(stars).toEqual([]);
});

test('no file imports itself in a circle', () => {
  const edges = new Map<string, string[]>();
  for (const { from, to } of imports) edges.set(from, [...(edges.get(from) ?? []), to]);
  const done = new Set<string>();
  const visit = (file: string, path: readonly string[]): string[] | undefined => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file];
    if (done.has(file)) return undefined;
    for (const to of edges.get(file) ?? []) {
      const circle = visit(to, [...path, file]);
      if (circle !== undefined) return circle;
    }
    done.add(file);
    return undefined;
  };
  const circles = files.map((file) => visit(file, [])).filter((circle) => circle !== undefined);
  expect(circles).toEqual([]);
});

const MAX_FILE_LINES = 300;
const MAX_FOLDER_FILES = 10;
/** `src/pool`, where a proxy author lives (decision 165). */
const MAX_POOL = { files: 50, lines: 6_000 };

const sizes = files.map((file) => ({ file, lines: readFileSync(join(SRC, file), 'utf8').split('\n').length - 1 }));

test('no file is longer than 300 lines', () => {
  const long = sizes.filter(({ lines }) => lines > MAX_FILE_LINES);
  expect(long).toEqual([]);
});

test('no list of any length is spread into a call: beyond some 100,000 arguments the stack is over', () => {
  const spread = /\b(?:push|unshift|splice|Math\.max|Math\.min|fromCharCode|fromCodePoint)\((?:[^(){}[\]]*, )?\.\.\./;
  // Arrays of a fixed few.
  const fixed = ['concurrent/resource/Housekeeper.ts', 'connection/channel/unread/idsInGarbage.ts'];
  const found = files.flatMap((file) =>
    readFileSync(join(SRC, file), 'utf8')
      .split('\n')
      .filter((line) => spread.test(line))
      .map((line) => `${file}: ${line.trim()}`),
  );
  expect(found.filter((each) => !fixed.some((file) => each.startsWith(file)))).toEqual([]);
});

test('no folder has more than ten files', () => {
  const folders = new Map<string, number>();
  for (const { file } of sizes) folders.set(dirname(file), (folders.get(dirname(file)) ?? 0) + 1);
  expect(folders.size).toBeGreaterThan(10);
  expect([...folders].filter(([, count]) => count > MAX_FOLDER_FILES)).toEqual([]);
});

test('the pools are at most 50 files and 6,000 lines', () => {
  const pool = sizes.filter(({ file }) => file.startsWith('pool/'));
  const lines = pool.reduce((sum, each) => sum + each.lines, 0);
  expect(pool.length).toBeGreaterThan(10);
  expect(pool.length, 'files').toBeLessThanOrEqual(MAX_POOL.files);
  expect(lines, 'lines').toBeLessThanOrEqual(MAX_POOL.lines);
});

test('JSON-RPC codes are written in one file', () => {
  const others = files.filter((file) => {
    if (file === 'connection/protocol/rpcCodes.ts') return false;
    const source = readFileSync(join(SRC, file), 'utf8');
    const code = source.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$|'[^'\n]*'/gm, '');
    return /-32_?\d{3}\b/.test(code);
  });
  expect(others).toEqual([]);
});

/** Where a name is declared that `file` exports: names pass through indexes and through files that export what they import. */
function homeOf(name: string, file: string): string {
  const source = readFileSync(join(SRC, file), 'utf8');
  for (const [, names = '', from = ''] of source.matchAll(/(?:import|export) (?:type )?\{([^}]*)\} from '([^']+)'/g)) {
    if (!namesIn(names).includes(name) || !from.startsWith('.')) continue;
    return homeOf(name, relative(SRC, resolve(SRC, dirname(file), from)).replace(/\.js$/, '.ts'));
  }
  return file;
}

const namesIn = (list: string): string[] => list.split(',').map((each) => each.replace(/^\s*type /, '').trim());

test('a name that several subpaths export is one and the same thing', () => {
  const homes = new Map<string, Set<string>>();
  for (const file of files.filter((each) => each.endsWith('/index.ts') || each === 'errors.ts')) {
    const source = readFileSync(join(SRC, file), 'utf8');
    const lists = [...source.matchAll(/export (?:type )?\{([^}]*)\} from '[^']+'/g)];
    for (const name of lists.flatMap(([, names = '']) => namesIn(names)).filter((each) => each !== '')) {
      homes.set(name, (homes.get(name) ?? new Set()).add(homeOf(name, file)));
    }
  }
  expect(homes.size).toBeGreaterThan(100);
  expect([...homes].filter(([, all]) => all.size > 1)).toEqual([]);
});
