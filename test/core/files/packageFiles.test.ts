import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { rolldown } from 'rolldown';
import { expect, test } from 'vitest';
import { builtFile, packageRoot } from '../../../src/core/files/packageFiles.js';
import { tempFolder } from '../../support/tempFolder.js';

const ROOT = resolve(import.meta.dirname, '../../..');

test('the folder of the package is found from any depth of it', () => {
  expect(packageRoot()).toBe(ROOT);
});

test('a file to run is the one beside the module that asks, else the one in the package', () => {
  const beside = pathToFileURL(join(ROOT, 'dist/cli/serve.js')).href;
  expect(builtFile('cli/main.js', beside)).toBe(join(ROOT, 'dist/cli/main.js'));
  const joined = pathToFileURL(join(ROOT, 'dist/chunks/core.js')).href;
  const elsewhere = pathToFileURL(join(tempFolder(), 'app.js')).href;
  for (const name of ['cli/main.js', 'testing/fake/child/main.js', 'bench/reference/main.js', 'bench/load/worker.js']) {
    for (const asker of [import.meta.url, joined, elsewhere])
      expect(builtFile(name, asker)).toBe(join(ROOT, 'dist', name));
    expect(existsSync(join(ROOT, 'dist', name)), name).toBe(true);
  }
  expect(existsSync(builtFile('gateway/status/page.html', joined))).toBe(true);
});

test('a program that has the package in a bundle of CommonJS makes pools, whatever package.json stands above it', async () => {
  const above = tempFolder();
  const folder = join(above, 'app');
  mkdirSync(folder);
  writeFileSync(join(folder, 'package.json'), '{}');
  const program = join(folder, 'program.mjs');
  writeFileSync(program, `export { StdioPool, HTTPClientPool } from '${join(ROOT, 'dist/pool/index.js')}';`);
  const build = await rolldown({
    input: program,
    platform: 'node',
    logLevel: 'silent',
    external: (id) => !/^[./]/.test(id),
  });
  const { output } = await build.generate({ format: 'cjs' });
  await build.close();
  writeFileSync(join(above, 'package.json'), 'no JSON');
  // As esbuild has it: nothing of `import.meta`, while rolldown puts its file's URL in.
  writeFileSync(
    join(folder, 'bundle.cjs'),
    `${output[0].code.replaceAll('__dirname', 'undefined')}\nfor (const Pool of [exports.StdioPool, exports.HTTPClientPool]) new Pool().close();`,
  );
  const { status, stderr } = spawnSync(process.execPath, [join(folder, 'bundle.cjs')], {
    encoding: 'utf8',
    env: { ...process.env, NODE_PATH: join(ROOT, 'node_modules') },
  });
  expect([status, stderr]).toEqual([0, '']);
});
