import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
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
