import { once } from 'node:events';
import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ServerRegistry } from '../src/registry/config/ServerRegistry.js';
import { ProcessLedger } from '../src/registry/process/ProcessLedger.js';
import { FakeClock } from '../src/testing/FakeClock.js';
import { FileCache } from '../src/toolstore/FileCache.js';
import { RUNS, RUNS_TIMEOUT_MS } from './support/runs.js';
import { tempFolder } from './support/tempFolder.js';

/**
 * Whatever else lies in the folders that a part writes to and clears: files, folders, links and sockets that it did not name
 * itself stay where they are, as they are.
 */

const hex = (length: number) =>
  fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: length, maxLength: length });

/** Names that are close to those of a part, and are not. */
const foreignName = fc.oneof(
  fc
    .string({ unit: fc.constantFrom(...'abcXYZ019-_. '), minLength: 1, maxLength: 40 })
    .filter((name) => !/^\.{1,2}$/.test(name)),
  hex(32).map((id) => `${id}.json.bak`),
  hex(31).map((id) => `${id}.json`),
  hex(32).map((id) => `${id}.tmp`),
  hex(32).map((id) => `x-${id}.json`),
  hex(8).map((id) => `holidays-${id}-photo.jpg`),
  hex(64).map((id) => `j-${id}.json.bak`),
  hex(64).map((id) => `j-${id}.json.${id.slice(0, 15)}.tmp`),
  hex(16).map((id) => `notes.json.${id}.tmp`),
  hex(16).map((id) => `notes.json.draft.${id}.tmp`),
  fc.constantFrom(
    'mcp.json.bak',
    '.mcp.json.swp',
    'mcp.json.1234567',
    'rejected.txt',
    'v1.txt',
    'v10',
    'quarantine.old',
  ),
);

const KINDS = ['file', 'folder', 'link', 'socket'] as const;
const PLACES = [
  'ledger',
  'ledger/processes',
  'ledger/processes/rejected',
  'cache',
  'cache/v1',
  'cache/quarantine',
  '.',
];

const foreign = fc.record({
  place: fc.constantFrom(...PLACES),
  name: foreignName,
  kind: fc.constantFrom(...KINDS),
  old: fc.boolean(),
});
type Foreign = typeof foreign extends fc.Arbitrary<infer T> ? T : never;

/** Names that were once taken for a part's own. */
const CLOSE: Foreign[] = [
  { place: 'cache/quarantine', name: 'holidays-deadbeef-photo.jpg', kind: 'file', old: true },
  { place: 'cache/v1', name: 'notes.json.draft.tmp', kind: 'file', old: true },
  { place: 'ledger/processes', name: 'notes.json', kind: 'file', old: true },
];

/** What the system takes as a socket's address. */
const MAX_SOCKET_PATH = 100;

/** What stands there, down to its content. */
function seen(path: string): string {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return 'nothing';
  if (stat.isSymbolicLink()) return `a link to ${readlinkSync(path)}`;
  if (stat.isDirectory()) return `a folder of ${readdirSync(path).map((name) => `${name}: ${seen(join(path, name))}`)}`;
  return stat.isFile() ? `a file of ${readFileSync(path, 'utf8')}` : 'a socket';
}

async function plant(root: string, items: readonly Foreign[], treasure: string): Promise<Server[]> {
  const sockets: Server[] = [];
  for (const { place, name, kind, old } of items) {
    const path = join(root, place, name);
    if (kind === 'link') symlinkSync(treasure, path);
    else if (kind === 'folder') {
      mkdirSync(path);
      writeFileSync(join(path, 'inside'), 'precious');
    } else if (kind === 'file' || path.length > MAX_SOCKET_PATH) writeFileSync(path, 'precious');
    else {
      const socket = createServer().listen(path);
      await once(socket, 'listening');
      sockets.push(socket);
    }
    if (old && kind !== 'link') utimesSync(path, 1, 1);
  }
  return sockets;
}

/** All that the ledger removes: drafts, records, those it rejects beyond its bound. */
async function useLedger(root: string): Promise<void> {
  const clock = new FakeClock({ wallMs: Date.now() + 90 * 86_400_000 });
  const ledger = await ProcessLedger.open({ directory: join(root, 'ledger'), clock });
  const records = [];
  for (let i = 0; i < 3; i++) records.push(await ledger.intend('s', { command: 'cat' }));
  writeFileSync(join(ledger.directory, `${'a'.repeat(32)}.json`), 'no record');
  writeFileSync(join(ledger.directory, `${'b'.repeat(32)}.7.tmp`), 'half of one');
  for (let i = 0; i < 2; i++) await ledger.read();
  for (const record of records) await ledger.forget(record);
}

/** All that the cache removes: values, what is damaged, expired, beyond its bounds, or left by a killed writer. */
async function useCache(root: string): Promise<void> {
  const clock = new FakeClock({ wallMs: Date.now() });
  const directory = join(root, 'cache');
  const options = { directory, clock, fsync: false, maxFiles: 2, recheckMs: 0, staleMs: 0 };
  const cache = new FileCache(options);
  for (let i = 0; i < 4; i++) await cache.set(`k${i}`, { i });
  await cache.delete('k0');
  await cache.setTools({ name: 's' }, []);
  await cache.invalidate({ name: 's' });
  await cache.close();
  const v1 = join(directory, 'v1');
  for (const name of readdirSync(v1)) if (/^j-[0-9a-f]{64}\.json$/.test(name)) writeFileSync(join(v1, name), 'damaged');
  writeFileSync(join(v1, `j-${'c'.repeat(64)}.json.${'d'.repeat(16)}.tmp`), 'left');
  // More than quarantine keeps: the next that goes there has the oldest removed.
  for (let i = 0; i < 34; i++) {
    const id = String(i).padStart(8, '0');
    writeFileSync(join(directory, 'quarantine', `m0000000-${id}-j-${'e'.repeat(64)}.json`), 'damaged');
  }
  const next = new FileCache(options);
  for (let i = 0; i < 4; i++) await next.get(`k${i}`);
  await next.set('k9', {});
  // The first sweep, and one when everything has expired.
  await clock.advance(1_000);
  await clock.advance(2 * 86_400_000);
  await next.close();
  expect(readdirSync(join(directory, 'quarantine')).filter((name) => name.startsWith('m0000000-')).length).toBeLessThan(
    32,
  );
}

async function useConfig(root: string): Promise<void> {
  const registry = new ServerRegistry();
  registry.add({ name: 's', transport: 'stdio', command: 'cat' });
  for (let i = 0; i < 2; i++) await registry.save(join(root, 'mcp.json'));
  await registry.close();
}

test(
  'files, folders, links and sockets of others survive all that deletes, moves and saves',
  () =>
    fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(foreign, { maxLength: 12, selector: ({ place, name }) => `${place}/${name}` }),
        async (items) => {
          const [root, outside] = [tempFolder(), tempFolder()];
          writeFileSync(join(outside, 'treasure'), 'precious');
          for (const place of PLACES) mkdirSync(join(root, place), { recursive: true, mode: 0o700 });
          const sockets = await plant(root, items, join(outside, 'treasure'));
          const look = (): string[] =>
            items.map(({ place, name }) => `${place}/${name}: ${seen(join(root, place, name))}`);
          const before = look();
          await useLedger(root);
          await useCache(root);
          await useConfig(root);
          expect(look()).toEqual(before);
          expect(seen(outside)).toContain('treasure: a file of precious');
          await Promise.all(sockets.map((socket) => new Promise((done) => socket.close(done))));
          for (const folder of [root, outside]) rmSync(folder, { recursive: true });
        },
      ),
      { numRuns: Math.max(15, Math.ceil(RUNS / 20)), examples: [[CLOSE]] },
    ),
  RUNS_TIMEOUT_MS,
);
