import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '../..');

test('the example of docs/testing.md runs as it stands there, and is acquitted', () => {
  const example = readFileSync(join(root, 'examples/proxy-chaos.test.mjs'), 'utf8');
  const guide = readFileSync(join(root, 'docs/testing.md'), 'utf8');
  const body = example.slice(example.indexOf('import'));
  expect(guide).toContain(body);
  const { status, stdout } = spawnSync(process.execPath, ['--test', 'examples/proxy-chaos.test.mjs'], {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, NODE_OPTIONS: '' },
  });
  expect(stdout).toMatch(/not guilty \(seed 7\): 40 calls: .* 40 effects, 8 faults/);
  expect(status).toBe(0);
});
