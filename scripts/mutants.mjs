// Tries hand-made mutants: each changes one place of the source in a temporary copy, where the tests of its part must
// then fail. `node scripts/mutants.mjs [list ...] [--only id,id] [--jobs n]`; the lists are scripts/mutants/*.json.
import { spawn } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = fileURLToPath(new URL('..', import.meta.url));
const lists = join(root, 'scripts/mutants');
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { only: { type: 'string' }, jobs: { type: 'string', default: '2' } },
});
const TIMEOUT_MS = 180_000;
/** Properties are tried less often than in `npm test`: a mutant that only 500 runs would find is better killed by a case. */
const RUNS = '150';

const names = positionals.length > 0 ? positionals : readdirSync(lists).map((file) => basename(file, '.json'));
const only = values.only?.split(',');
const mutants = names
  .flatMap((name) => {
    const { tests, mutants } = JSON.parse(readFileSync(join(lists, `${name}.json`), 'utf8'));
    return mutants.map((mutant) => ({ ...mutant, tests: tests[mutant.file] ?? tests['*'] }));
  })
  .filter(({ id }) => only?.includes(id) ?? true);

for (const { id, file, find } of mutants) {
  const times = readFileSync(join(root, file), 'utf8').split(find).length - 1;
  if (times !== 1) throw new Error(`mutant ${id}: its text stands ${times} times in ${file}`);
}

function copy() {
  const folder = mkdtempSync(join(tmpdir(), 'mutants-'));
  for (const name of ['src', 'test', 'package.json', 'tsconfig.json', 'vitest.config.ts']) {
    cpSync(join(root, name), join(folder, name), { recursive: true });
  }
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
  return folder;
}

/** True when the tests pass. */
function passes(folder, tests, bail = true) {
  return new Promise((resolve) => {
    const vitest = join(root, 'node_modules/vitest/vitest.mjs');
    const child = spawn(process.execPath, [vitest, 'run', ...(bail ? ['--bail=1'] : []), ...tests], {
      cwd: folder,
      env: { ...process.env, POOLKIT_RUNS: RUNS },
      stdio: 'ignore',
      detached: true,
    });
    // The tests run in children of the child: a mutant that spins is ended with its whole group.
    const timer = setTimeout(() => process.kill(-child.pid, 'SIGKILL'), TIMEOUT_MS);
    child.on('exit', (code) => {
      clearTimeout(timer);
      resolve(code === 0);
    });
  });
}

const survivors = [];
const queue = [...mutants];
async function work() {
  const folder = copy();
  try {
    if (!(await passes(folder, [...new Set(mutants.flatMap(({ tests }) => tests))]))) {
      throw new Error('the tests fail without any mutant');
    }
    for (let mutant = queue.shift(); mutant !== undefined; mutant = queue.shift()) {
      const { id, file, find, replace, tests } = mutant;
      const path = join(folder, file);
      const source = readFileSync(path, 'utf8');
      writeFileSync(
        path,
        source.replace(find, () => replace),
      );
      // Asked twice: under load vitest has ended well although it had bailed out of a failure.
      const survived = (await passes(folder, tests)) && (await passes(folder, tests, false));
      writeFileSync(path, source);
      if (survived) survivors.push(id);
      console.log(`${survived ? 'SURVIVED' : 'killed  '} ${id} (${file})`);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
await Promise.all(Array.from({ length: Number(values.jobs) }, work));

const killed = mutants.length - survivors.length;
console.log(`${killed} of ${mutants.length} killed (${((100 * killed) / mutants.length).toFixed(1)} %)`);
if (survivors.length > 0) console.log(`survived: ${survivors.sort().join(', ')}`);
