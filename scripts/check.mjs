// What CI runs: format and lint, types, tests, build, and the package as its users get it. `--no-tests` leaves them out.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const require = createRequire(import.meta.url);
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const packageTools = join(root, 'scripts/package');
const binOf = (name) => {
  const { bin } = JSON.parse(readFileSync(require.resolve(`${name}/package.json`), 'utf8'));
  const file = typeof bin === 'string' ? bin : (bin[name.split('/').at(-1)] ?? Object.values(bin)[0]);
  return join(require.resolve(`${name}/package.json`), '..', file);
};
const tsc = join(require.resolve('typescript/package.json'), '../bin/tsc');

function run(title, command, args, options = {}) {
  const started = performance.now();
  const { status, stdout } = spawnSync(command, args, {
    cwd: root,
    stdio: ['ignore', options.read ? 'pipe' : 'inherit', 'inherit'],
    encoding: 'utf8',
    ...options,
  });
  if (status !== 0) {
    if (options.read) process.stderr.write(stdout ?? '');
    console.error(`check: ${title} failed`);
    process.exit(1);
  }
  console.log(`check: ${title} (${((performance.now() - started) / 1_000).toFixed(1)} s)`);
  return stdout;
}

const node = (title, args, options) => run(title, process.execPath, args, options);

run('build', process.execPath, ['scripts/build.mjs']);
node('format and lint', [binOf('@biomejs/biome'), 'ci', '.']);
node('types', [tsc, '-p', 'tsconfig.json', '--noEmit']);
node('types of the status page', [tsc, '-p', 'web/status/tsconfig.json']);
if (!process.argv.includes('--no-tests'))
  node('tests', [binOf('vitest'), 'run'], { env: { ...process.env, POOLKIT_BUILT: '1' } });
checkPackage();

/** The tarball, installed into an empty folder: every subpath by `import` and by `require`, and its types. */
function checkPackage() {
  const folder = mkdtempSync(join(tmpdir(), 'poolkit-package-'));
  try {
    const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
    const packed = run('pack', npm, ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], {
      read: true,
    });
    const [{ filename }] = JSON.parse(packed);
    checkManifest(join(folder, filename));
    const consumer = join(folder, 'consumer');
    mkdirSync(consumer);
    writeFileSync(join(consumer, 'package.json'), '{ "name": "consumer", "private": true }');
    const install = ['install', '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error', `../${filename}`];
    run('install the tarball', npm, install, { cwd: consumer, read: true });
    const names = Object.keys(manifest.exports)
      .filter((subpath) => !subpath.endsWith('.json'))
      .map((subpath) => manifest.name + subpath.slice(1));
    writeFileSync(join(consumer, 'esm.mjs'), esm(names));
    node('import every subpath', ['esm.mjs'], { cwd: consumer });
    writeFileSync(join(consumer, 'cjs.cjs'), cjs(names));
    node('require every subpath', ['cjs.cjs'], { cwd: consumer });
    writeFileSync(join(consumer, 'consumer.mts'), consumerOf(names));
    for (const [module, moduleResolution] of [
      ['nodenext', 'nodenext'],
      ['esnext', 'bundler'],
    ]) {
      const config = `tsconfig.${moduleResolution}.json`;
      writeFileSync(join(consumer, config), JSON.stringify(tsconfig(module, moduleResolution)));
      node(`types under ${moduleResolution}`, [tsc, '-p', config], { cwd: consumer });
    }
    // The oldest TypeScript that can read the declarations, also those it would skip.
    const oldest = { ...tsconfig('nodenext', 'nodenext'), files: ['oldest.mts'] };
    writeFileSync(join(consumer, 'oldest.mts'), consumerOf(names));
    Object.assign(oldest.compilerOptions, { lib: ['es2022', 'dom', 'esnext.disposable'], skipLibCheck: false });
    writeFileSync(join(consumer, 'tsconfig.oldest.json'), JSON.stringify(oldest));
    const old = join(packageTools, 'node_modules/typescript/bin/tsc');
    node('types under TypeScript 5.4', [old, '-p', 'tsconfig.oldest.json'], { cwd: consumer });
    const bin = join(consumer, 'node_modules/.bin', manifest.name);
    run('run the program', bin, ['--version'], { cwd: consumer, read: true });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** What publint and Are The Types Wrong say of the tarball. They and an old TypeScript are installed beside, not with the house. */
function checkManifest(tarball) {
  const bin = (name) => join(packageTools, 'node_modules/.bin', name);
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
  if (!existsSync(bin('attw'))) {
    const install = ['ci', '--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error'];
    run('install the tools', npm, install, { cwd: packageTools, read: true });
  }
  run('publint', bin('publint'), ['run', '--strict', tarball], { read: true });
  // CommonJS programs get the same modules by `require`, from Node 20.19 on.
  run('are the types wrong', bin('attw'), [tarball, '--profile', 'esm-only'], { read: true });
}

function esm(names) {
  return `for (const name of ${JSON.stringify(names)}) {
  const exports = Object.keys(await import(name));
  if (exports.length === 0) throw new Error(name + ' exports nothing');
}
`;
}

function cjs(names) {
  return `for (const name of ${JSON.stringify(names)}) {
  if (Object.keys(require(name)).length === 0) throw new Error(name + ' exports nothing');
}
if (require('${manifest.name}/package.json').version !== '${manifest.version}') throw new Error('another version');
`;
}

/** A program that uses the types of each subpath, not only their names. */
function consumerOf(names) {
  const imports = names.map((name, index) => `import * as part${index} from '${name}';`);
  return `${imports.join('\n')}
import { type McpPool, PoolkitError, StdioPool } from '${manifest.name}';
import { Gateway } from '${manifest.name}/gateway';

export const parts: object[] = [${names.map((_, index) => `part${index}`).join(', ')}];
const pool: McpPool = new StdioPool();
export const gateway = new Gateway({ pool, port: 0 });
export const code = (error: unknown): string | undefined => (error instanceof PoolkitError ? error.code : undefined);
// @ts-expect-error a misspelt option is an error
export const misspelt = new Gateway({ pool, prot: 0 });
`;
}

function tsconfig(module, moduleResolution) {
  return {
    compilerOptions: {
      target: 'es2022',
      module,
      moduleResolution,
      lib: ['es2023', 'esnext.disposable'],
      types: ['node'],
      typeRoots: [join(root, 'node_modules/@types')],
      strict: true,
      noEmit: true,
    },
    files: ['consumer.mts'],
  };
}
