import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '../../..');
const entry = resolve(root, 'dist/index.js');
const manifest = JSON.parse(readFileSync(resolve(root, 'package.json'), 'utf8')) as {
  exports: Record<string, { default: string } | string>;
};
/** Every entry of the package, the whole one first. */
const entries = Object.values(manifest.exports).flatMap((target) =>
  typeof target === 'string' ? [] : [resolve(root, target.default)],
);

test.skipIf(!existsSync(entry))(
  'importing the package changes no global: fetch, its dispatcher and the process keep what they had',
  async () => {
    const program = `
    const names = () => [...Object.getOwnPropertySymbols(globalThis), ...Object.getOwnPropertyNames(globalThis)].map(String);
    // Not Request and Headers: reading them makes Node load its own undici, which hides what another one would install.
    const state = () => ({ fetch, emit: process.emit, exit: process.reallyExit, log: console.log });
    const before = new Set(names());
    const was = state();
    const listeners = process.eventNames().map(String);
    const { HTTPClientPool } = await import(${JSON.stringify(entry)});
    const pool = new HTTPClientPool({});
    const { failed } = await pool.startAll([{ name: 'none', transport: 'http', url: 'http://127.0.0.1:1/' }]);
    if (failed.length !== 1) throw new Error('it started');
    await pool.close();
    for (const each of ${JSON.stringify(entries)}) await import(each);
    const now = state();
    // Node 24's own undici installs its dispatcher as soon as something reads Response.
    const { createRequire } = await import('node:module');
    const Agent = createRequire(${JSON.stringify(entry)})('undici/lib/dispatcher/agent.js');
    const symbols = Object.getOwnPropertySymbols(globalThis);
    const ofNode = symbols.filter((each) => /undici/.test(String(each)) && !(globalThis[each] instanceof Agent)).map(String);
    console.log(JSON.stringify({
      added: names().filter((name) => !before.has(name) && !ofNode.includes(name)),
      changed: Object.keys(was).filter((name) => was[name] !== now[name]),
      listeners: process.eventNames().map(String).filter((name) => !listeners.includes(name)),
    }));`;
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', program]);
    const { added, changed, listeners } = JSON.parse(stdout) as Record<string, string[]>;
    expect(changed).toEqual([]);
    expect(listeners).toEqual([]);
    // Registries that zod and signal-exit keep for themselves, so that two copies of them share one.
    expect(added?.filter((name) => !/zod|signal-exit/.test(name))).toEqual([]);
  },
);
