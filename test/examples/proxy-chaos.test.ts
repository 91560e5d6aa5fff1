import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '../..');

test.each([
  ['proxy-chaos', /not guilty \(seed 7\): 40 calls: 32 answers, 8 failures, 0 cancelled; 40 effects, 8 faults/],
  ['proxy-clients', /not guilty \(seed 7\): 40 calls: 35 answers, 5 failures, 0 cancelled; 35 effects, 5 faults/],
])('the example %s of docs/testing.md runs as it stands there, and is acquitted', (name, said) => {
  const file = `examples/${name}.test.mjs`;
  const example = readFileSync(join(root, file), 'utf8');
  const guide = readFileSync(join(root, 'docs/testing.md'), 'utf8');
  const body = example.slice(example.indexOf('import'));
  expect(guide).toContain(body);
  const { status, stdout } = spawnSync(process.execPath, ['--test', file], {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, NODE_OPTIONS: '' },
  });
  expect(stdout).toMatch(said);
  expect(status).toBe(0);
});
