import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const entry = resolve(import.meta.dirname, '../../../dist/index.js');

test.skipIf(!existsSync(entry))(
  'importing the package changes no global: fetch, its dispatcher and the process keep what they had',
  async () => {
    const program = `
    const names = () => [...Object.getOwnPropertySymbols(globalThis), ...Object.getOwnPropertyNames(globalThis)].map(String);
    const state = () => ({ fetch, Request, Headers, emit: process.emit, exit: process.reallyExit, log: console.log,
      dispatcher: globalThis[Symbol.for('undici.globalDispatcher.1')] });
    // Node loads what is behind these when they are read first.
    const was = state();
    const before = new Set(names());
    const listeners = process.eventNames().map(String);
    const { HTTPClientPool } = await import(${JSON.stringify(entry)});
    await new HTTPClientPool({}).close();
    const now = state();
    console.log(JSON.stringify({
      added: names().filter((name) => !before.has(name)),
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
