import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  closeSync,
  constants,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import fsPromises from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { OptionError } from '../../../src/core/errors.js';
import type { ParsedConfig } from '../../../src/registry/config/configFile.js';
import { ConfigWatcher, type ConfigWatcherOptions } from '../../../src/registry/config/watch/ConfigWatcher.js';
import { closeAfter } from '../../support/closeAfter.js';
import { tempFolder } from '../../support/tempFolder.js';

const json = (...names: string[]) =>
  JSON.stringify({ mcpServers: Object.fromEntries(names.map((name) => [name, { command: name }])) });

/** A watcher, and what it tells, one after the other. */
function watching(file: string, options: Partial<ConfigWatcherOptions> = {}) {
  const watcher = closeAfter(new ConfigWatcher({ file, settleMs: 10, pollMs: 20, ...options }));
  const told: ParsedConfig[] = [];
  const waiting = new Set<() => void>();
  watcher.on('change', (parsed) => {
    told.push(parsed);
    for (const each of waiting) each();
  });
  /** Resolves to the first that is told from the `from`th on and fits. */
  const until = async (fits: (parsed: ParsedConfig) => boolean, from = 0): Promise<ParsedConfig> => {
    for (;;) {
      const hit = told.slice(from).find(fits);
      if (hit !== undefined) return hit;
      await new Promise<void>((settle) => {
        waiting.add(settle);
        setTimeout(settle, 5_000).unref();
      });
    }
  };
  const named = (...names: string[]) => until(({ servers }) => servers.map(({ name }) => name).join() === names.join());
  return { watcher, told, until, named };
}

test('every style of edit is seen: written over, replaced by a rename, a link that leads elsewhere, deleted and made anew', async () => {
  const folder = tempFolder();
  const file = join(folder, 'mcp.json');
  writeFileSync(file, json('a'));
  const { told, until, named } = watching(file);
  await named('a');
  writeFileSync(file, json('a', 'over'));
  await named('a', 'over');
  writeFileSync(join(folder, 'new'), json('renamed'));
  renameSync(join(folder, 'new'), file);
  await named('renamed');
  const count = told.length;
  rmSync(file);
  const gone = await until(({ problems }) => problems.length > 0, count);
  expect(gone.problems.map(({ message }) => message)).toEqual([`${file}: cannot be read: no such file`]);
  writeFileSync(join(folder, 'one.json'), json('one'));
  symlinkSync('one.json', file);
  await named('one');
  mkdirSync(join(folder, 'sub'));
  writeFileSync(join(folder, 'sub/two.json'), json('two'));
  symlinkSync('sub/two.json', join(folder, 'link'));
  renameSync(join(folder, 'link'), file);
  await named('two');
  // In a folder that is not watched: found by polling.
  writeFileSync(join(folder, 'sub/two.json'), json('three'));
  await named('three');
});

test('half a file is never told as servers, however slowly it is written', async () => {
  const file = join(tempFolder(), 'mcp.json');
  writeFileSync(file, json('a', 'b', 'c'));
  const { watcher, told, named } = watching(file);
  await named('a', 'b', 'c');
  const next = `${json('a', 'b', 'c', 'd')}\n`;
  writeFileSync(file, '');
  for (let at = 0; at < next.length; at += 20) {
    appendFileSync(file, next.slice(at, at + 20));
    await watcher.check();
  }
  await named('a', 'b', 'c', 'd');
  for (const { servers, problems } of told) {
    if (problems.length > 0) expect(servers).toEqual([]);
    else expect(servers.length).toBeGreaterThanOrEqual(3);
  }
  expect(told.some(({ problems }) => problems.length > 0)).toBe(true);
});

test('half a TOML file, which is TOML too, is not told while it is being written', async () => {
  const file = join(tempFolder(), 'config.toml');
  const toml = (...names: string[]) => names.map((name) => `[mcp_servers.${name}]\ncommand = "${name}"\n`);
  writeFileSync(file, toml('a', 'b').join(''));
  const { watcher, told, named } = watching(file, { settleMs: 40 });
  await named('a', 'b');
  writeFileSync(file, '');
  for (const part of toml('c', 'd', 'e')) {
    appendFileSync(file, part);
    watcher.check();
    await new Promise((settle) => setTimeout(settle, 60));
  }
  await named('c', 'd', 'e');
  expect(told.map(({ servers }) => servers.length)).toEqual([2, 3]);
});

test('a text that is known is not told again, nor is a touch, and a pipe or a folder is no config', async () => {
  const folder = tempFolder();
  const file = join(folder, 'mcp.json');
  writeFileSync(file, json('a'));
  const known = closeAfter(new ConfigWatcher({ file, settleMs: 1, pollMs: 60_000 }, json('a')));
  let told = 0;
  known.on('change', () => void told++);
  await known.check();
  writeFileSync(file, json('a'));
  await known.check();
  expect(told).toBe(0);
  const { until } = watching(folder);
  const { problems } = await until(() => true);
  expect(problems.map(({ message }) => message)).toEqual([`${folder}: cannot be read: it is no regular file`]);
});

test('a folder that is not there yet is waited for; options are checked; close is one promise', async () => {
  const folder = join(tempFolder(), 'later');
  const { watcher, named } = watching(join(folder, 'mcp.json'));
  mkdirSync(folder);
  writeFileSync(join(folder, 'mcp.json'), json('late'));
  await named('late');
  expect(() => new ConfigWatcher({ file: 'x', settleMs: 0 })).toThrow(OptionError);
  expect(() => new ConfigWatcher({ file: 'x', pollMs: 0 })).toThrow(OptionError);
  expect(() => new ConfigWatcher({ file: 'x', settle: 1 } as unknown as ConfigWatcherOptions)).toThrow(/settle/);
  expect(watcher.close()).toBe(watcher.close());
  await watcher.close();
});

test('a pipe that takes the place of the file between the look and its opening holds nothing up', async () => {
  const file = join(tempFolder(), 'mcp.json');
  writeFileSync(file, json('a'));
  const { stat } = fsPromises;
  const put = (replaced: typeof stat): void => {
    fsPromises.stat = replaced;
    syncBuiltinESMExports();
  };
  onTestFinished(() => put(stat));
  let swapped = false;
  put((async (...given: Parameters<typeof stat>) => {
    const found = await stat(...given);
    if (!swapped && given[0] === file) {
      swapped = true;
      rmSync(file);
      execFileSync('mkfifo', [file]);
      // A reader that waits for a writer is let go at the end.
      onTestFinished(() => closeSync(openSync(file, constants.O_RDWR | constants.O_NONBLOCK)));
    }
    return found;
  }) as typeof stat);
  const { watcher, told } = watching(file, { pollMs: 60_000 });
  await watcher.check();
  expect(swapped).toBe(true);
  expect(told.map(({ problems }) => problems.map(({ message }) => message))).toEqual([
    [`${file}: cannot be read: it is no regular file`],
  ]);
});
