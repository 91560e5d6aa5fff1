import { readdirSync, readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { expect, test } from 'vitest';

const SRC = resolve(import.meta.dirname, '../src');
const MAX_FILE_LINES = 300;
const MAX_FOLDER_FILES = 10;
/** `src/pool`, where a proxy author lives (decision 165). */
const MAX_POOL = { files: 50, lines: 6_000 };

const sizes = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts'))
  .map((file) => ({ file, lines: readFileSync(resolve(SRC, file), 'utf8').split('\n').length - 1 }));

/** Longer than they should be; each is to leave this list, none may come. */
const TOO_LONG_YET: readonly string[] = [
  'connection/channel/Channel.ts',
  'connection/net/Exchange.ts',
  'gateway/Gateway.ts',
  'gateway/session/Callers.ts',
  'pool/server/partitions/Partition.ts',
  'pool/server/partitions/PartitionTable.ts',
  'testing/wire/memory/FaultyConnection.ts',
];

test('no file is longer than 300 lines', () => {
  const long = sizes.filter(({ file, lines }) => lines > MAX_FILE_LINES && !TOO_LONG_YET.includes(file));
  expect(long).toEqual([]);
});

test('no folder has more than ten files', () => {
  const folders = new Map<string, number>();
  for (const { file } of sizes) folders.set(dirname(file), (folders.get(dirname(file)) ?? 0) + 1);
  expect(folders.size).toBeGreaterThan(10);
  expect([...folders].filter(([, count]) => count > MAX_FOLDER_FILES)).toEqual([]);
});

test('the pools are at most 50 files and 6,000 lines', () => {
  const pool = sizes.filter(({ file }) => file.startsWith('pool/'));
  const lines = pool.reduce((sum, each) => sum + each.lines, 0);
  expect(pool.length).toBeGreaterThan(10);
  expect(pool.length, 'files').toBeLessThanOrEqual(MAX_POOL.files);
  expect(lines, 'lines').toBeLessThanOrEqual(MAX_POOL.lines);
});
