// Proof that chaos with its checker convicts: each mutant breaks one place of the product in a temporary copy, where a chaos
// run of two minutes at most must then end guilty. `npm run chaos:mutants [-- --only id,id] [--minutes 2]`.
import { spawn } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = fileURLToPath(new URL('../..', import.meta.url));
const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    minutes: { type: 'string', default: '2' },
    seed: { type: 'string', default: '1' },
  },
});
const only = values.only?.split(',');
const mutants = JSON.parse(readFileSync(join(root, 'scripts/chaos/mutants.json'), 'utf8')).filter(
  ({ id }) => only?.includes(id) ?? true,
);
const moved = mutants.filter(({ file, find }) => readFileSync(join(root, file), 'utf8').split(find).length !== 2);
// The code has changed under the list: every one of them is named, so that the list can be mended at once.
if (moved.length > 0)
  throw new Error(`not once in its file: ${moved.map(({ id, file }) => `${id} (${file})`).join(', ')}`);

const folder = mkdtempSync(join(tmpdir(), 'poolkit-chaos-mutants-'));
for (const name of ['src', 'bench', 'package.json', 'tsconfig.json', 'tsconfig.bench.json']) {
  cpSync(join(root, name), join(folder, name), { recursive: true });
}
symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));

/** Runs a program in the copy; its exit code and what it printed. */
function run(args, limitMs) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    let said = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (chunk) => {
        said += chunk;
      });
    }
    // A mutant may hang: it is ended with its whole group.
    const timer = setTimeout(() => process.kill(-child.pid, 'SIGKILL'), limitMs);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      resolve({ code, signal, said });
    });
  });
}

const survivors = [];
try {
  for (const { id, file, find, replace } of mutants) {
    const path = join(folder, file);
    const source = readFileSync(path, 'utf8');
    writeFileSync(
      path,
      source.replace(find, () => replace),
    );
    // A mutant may break a type; what counts is that it runs.
    await run(['node_modules/typescript/bin/tsc', '-p', 'tsconfig.bench.json'], 120_000);
    const startMs = performance.now();
    const limitMs = Number(values.minutes) * 60_000;
    const chaos = ['.build/bench/chaos/main.js', '--seed', values.seed, '--minutes', values.minutes, '--no-shrink'];
    const { code, signal, said } = await run(chaos, limitMs + 30_000);
    const tookS = ((performance.now() - startMs) / 1_000).toFixed(0);
    writeFileSync(path, source);
    const rules = /GUILTY \(.*?\) of \d+ violation\(s\) of (.*)/.exec(said)?.[1];
    // A run whose event loop turns no more says so and kills itself.
    if ((code !== 2 && signal !== 'SIGKILL') || rules === undefined) {
      survivors.push(id);
      console.log(`SURVIVED  ${id}, ${tookS} s, exit code ${code}\n${said.slice(-600)}`);
    } else console.log(`convicted ${id} in ${tookS} s of ${rules}`);
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
console.log(`${mutants.length - survivors.length} of ${mutants.length} convicted`);
if (survivors.length > 0) process.exitCode = 1;
