import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { tempFolder } from '../support/tempFolder.js';

const root = resolve(import.meta.dirname, '../..');
const PAGES = ['balancing.md', 'circuit-breaker.md', 'rate-limiting.md'];

function blocks(page: string): readonly string[] {
  const text = readFileSync(join(root, 'docs', page), 'utf8');
  return [...text.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code]) => code as string);
}

test('every ts block of these pages compiles', { timeout: 60_000 }, async () => {
  const folder = tempFolder();
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
  mkdirSync(join(folder, 'blocks'));
  let count = 0;
  for (const page of PAGES) {
    const found = blocks(page);
    expect(found.length, page).toBeGreaterThan(0);
    for (const code of found) writeFileSync(join(folder, 'blocks', `${page}.${count++}.ts`), code);
  }
  const config = {
    extends: join(root, 'tsconfig.json'),
    compilerOptions: {
      noUnusedLocals: false,
      lib: ['es2023', 'esnext.disposable'],
      paths: { 'mcp-poolkit/*': [join(root, 'src/*/index.ts'), join(root, 'src/*.ts')] },
    },
    include: [join(folder, 'blocks')],
  };
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(config));
  const tsc = join(root, 'node_modules/.bin/tsc');
  const run = promisify(execFile)(tsc, ['-p', join(folder, 'tsconfig.json')]);
  const errors = await run.then(
    () => '',
    (error: { readonly stdout: string }) => error.stdout,
  );
  expect(errors).toBe('');
});
