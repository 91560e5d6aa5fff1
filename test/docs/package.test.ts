import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { AjvJsonSchemaValidator } from '@modelcontextprotocol/client/validators/ajv';
import { expect, test } from 'vitest';
import { ERROR_CODES } from '../../src/errors.js';
import { blocksOf, PAGES, readPage } from '../support/docBlocks.js';
import { tempFolder } from '../support/tempFolder.js';

const ROOT = resolve(import.meta.dirname, '../..');

/** The files that are running after an import, as V8 counts them. */
const filesOf = (subpath: string): string[] => filesOfRun(['-e', `import('${join('mcp-poolkit', subpath)}')`], 0);

function filesOfRun(args: readonly string[], exitCode: number): string[] {
  const folder = tempFolder();
  const { status } = spawnSync(process.execPath, args, {
    cwd: ROOT,
    env: { ...process.env, NODE_V8_COVERAGE: folder, NODE_OPTIONS: '' },
  });
  expect(status).toBe(exitCode);
  return readdirSync(folder).flatMap((file) => {
    const { result } = JSON.parse(readFileSync(join(folder, file), 'utf8')) as { result: { url: string }[] };
    return result.map(({ url }) => url);
  });
}

/** The packages they are of. */
function packagesOf(files: readonly string[]): string[] {
  const names = files.map(
    (url) => /\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1] ?? /\/(dist)\//.exec(url)?.[1],
  );
  return [...new Set(names)].filter((name) => name !== undefined).sort();
}

test('/concurrent loads two packages; neither /pool nor the entry what is needed later, or few files of it', () => {
  expect(packagesOf(filesOf('concurrent'))).toEqual(['dist', 'generic-pool', 'lru-cache']);
  const pool = packagesOf(filesOf('pool'));
  expect(pool).toContain('cross-spawn');
  const later =
    /^(@modelcontextprotocol|undici|bottleneck|jose|pino|re2js|hdr-histogram-js|commander|write-file-atomic|zod|jsonc-parser)/;
  const entry = filesOf('');
  expect([...pool, ...packagesOf(entry)].filter((name) => later.test(name))).toEqual([]);
  // Its modules are joined: their number is most of what an import takes.
  const own = entry.filter((url) => url.includes('/dist/'));
  expect(own.length).toBeGreaterThan(5);
  expect(own.length).toBeLessThan(64);
});

test('a command loads what signs in only for servers that are signed in to', () => {
  const args = ['call', 'none', 'echo', '--config', 'examples/mcp.json'];
  const packages = packagesOf(filesOfRun(['dist/cli/main.js', ...args], 1));
  expect(packages).toContain('pino');
  expect(packages.filter((name) => /^(@modelcontextprotocol|zod)/.test(name))).toEqual([]);
});

test('the schema of config files is what the parser checks, and says what is right and wrong with a file', () => {
  const { status, stderr } = spawnSync(process.execPath, ['scripts/schema.mjs', '--check'], {
    cwd: ROOT,
    encoding: 'utf8',
  });
  expect([status, stderr]).toEqual([0, '']);
  const schema = JSON.parse(readPage('mcp.schema.json')) as Record<string, unknown>;
  const isValid = new AjvJsonSchemaValidator().getValidator({ ...schema, $schema: undefined } as never);
  const configs = [
    ...['examples/mcp.json', 'examples/remote.json'].map((file) => ({ at: file, text: readPage(file) })),
    ...PAGES.flatMap((page) => blocksOf(page))
      .filter(({ language, text }) => language === 'json' && text.includes('"mcpServers"'))
      .map(({ file, line, text }) => ({ at: `${file}:${line}`, text })),
  ];
  expect(configs.length).toBeGreaterThan(5);
  for (const { at, text } of configs) expect(isValid(JSON.parse(text)).valid, at).toBe(true);
  const wrong: readonly object[] = [
    {},
    { mcpServers: { a: { command: 1 } } },
    { mcpServers: { a: { comand: 'x' } } },
    { mcpServers: { a: { command: 'x', sharing: 'all' } } },
    { mcpServers: { a: { command: 'x', maxConnections: 0 } } },
    { mcpServers: {}, gateway: { prefix: 'dot' } },
  ];
  for (const config of wrong) expect(isValid(config).valid, JSON.stringify(config)).toBe(false);
});

test('the page of error codes has each, with what it promises', () => {
  const page = readPage('docs/errors.md');
  for (const [code, { acted, retryable }] of Object.entries(ERROR_CODES)) {
    const section = page.split(`\n## ${code}\n`)[1]?.split('\n## ')[0];
    expect(section, code).toContain(`- acted: \`${acted}\``);
    expect(section, code).toContain(`- retryable: \`${retryable}\``);
  }
});

test('a server of the example config whose package is missing says which to install', () => {
  const args = ['examples/run-server.mjs', '@modelcontextprotocol/server-none', 'stdio'];
  const { status, stderr } = spawnSync(process.execPath, args, { cwd: ROOT, encoding: 'utf8' });
  expect(status).toBe(1);
  expect(stderr).toBe(
    'Error: the package @modelcontextprotocol/server-none is not installed. Install it: npm install @modelcontextprotocol/server-none\n',
  );
});

/** The packages that a module names, by `import` of both kinds and by `require`. */
const IMPORTS =
  /(?:^(?:import|export|\}) ?(?:.* )?from |import\(|require\()'((?:@[\w.-]+\/)?[a-z][\w.-]*)(?:\/[^']*)?'/gm;

test('every dependency is one that the sources import, and every package they import is one', () => {
  const { dependencies, peerDependencies } = JSON.parse(readPage('package.json')) as Record<string, object>;
  const { devDependencies } = JSON.parse(readPage('package.json')) as { devDependencies: Record<string, string> };
  const imported = new Set<string>();
  for (const file of readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.ts')) continue;
    const text = readPage(join('src', file)).replace(/^ *(\*|\/[/*]).*$/gm, '');
    for (const [, name = ''] of text.matchAll(IMPORTS)) imported.add(name);
  }
  // Taken into dist/ by the build.
  const inside = ['jsonc-parser'].filter((name) => name in devDependencies);
  const declared = [...Object.keys(dependencies ?? {}), ...Object.keys(peerDependencies ?? {}), ...inside];
  expect([...imported].filter((name) => !name.startsWith('mcp-poolkit')).sort()).toEqual(declared.sort());
});
