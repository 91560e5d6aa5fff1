import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { rolldown } from 'rolldown';
import { fixture } from './servers.js';

const root = resolve(import.meta.dirname, '../..');
const BUNDLES = join(root, '.build/fixtures');
const made = new Map<string, Promise<string>>();

/** A server joined with the SDK that it loads, hundreds of files: it starts in half the time. It is of test/fixtures where nothing else is said. */
export function bundled(name: string, source = fixture(name)): Promise<string> {
  const known = made.get(name) ?? bundle(name, source);
  made.set(name, known);
  return known;
}

/** The file that is there is good until a fixture or a package changes. */
async function bundle(name: string, source: string): Promise<string> {
  const file = join(BUNDLES, name);
  const changed = [fixture('.'), join(root, 'node_modules/.package-lock.json')].map(newest);
  if (newest(file) > Math.max(...changed)) return file;
  mkdirSync(dirname(file), { recursive: true });
  // Others may be making it too: it is there whole, or not at all.
  const folder = mkdtempSync(join(root, '.build/fixture-'));
  const build = await rolldown({ input: source, platform: 'node', logLevel: 'silent' });
  await build.write({ file: join(folder, 'bundle.mjs'), codeSplitting: false });
  await build.close();
  renameSync(join(folder, 'bundle.mjs'), file);
  rmSync(folder, { recursive: true });
  return file;
}

/** When a file, or a file of a folder, was last changed; 0 when there is none. */
function newest(path: string): number {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats?.isDirectory() !== true) return stats?.mtimeMs ?? 0;
  return Math.max(
    ...readdirSync(path, { recursive: true, encoding: 'utf8' }).map((each) => statSync(join(path, each)).mtimeMs),
  );
}
