// Builds dist/ afresh: declarations of src/, its modules joined into few files, the program executable, the status page. The
// modules one by one are in .build/lib, for scripts and fixtures that need one of them.
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const require = createRequire(import.meta.url);

// `npm ci --omit=dev` has nothing to build with: what is there stays.
if (process.argv.includes('--if-possible') && !canResolve('typescript/package.json')) process.exit(0);
const tsc = require.resolve('typescript/package.json').replace('package.json', 'bin/tsc');

for (const folder of ['dist', '.build/lib']) rmSync(`${root}/${folder}`, { recursive: true, force: true });
const { status } = spawnSync(process.execPath, [tsc, '-p', 'tsconfig.build.json'], { cwd: root, stdio: 'inherit' });
if (status !== 0) process.exit(status ?? 1);
await (await import('./build/bundle.mjs')).bundle(root);
const program = `${root}/dist/cli/main.js`;
if (existsSync(program)) chmodSync(program, 0o755);
if (canResolve('vite/package.json')) await import('./build/page.mjs');

function canResolve(specifier) {
  try {
    return require.resolve(specifier) !== '';
  } catch {
    return false;
  }
}
