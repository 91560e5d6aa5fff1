import {
  chmodSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  renameSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { FileTokenStore } from '../../src/auth/store/FileTokenStore.js';
import { OptionError } from '../../src/core/errors.js';
import { failure } from '../support/rawCalls.js';
import { tempFolder } from '../support/tempFolder.js';

const GRANT = {
  server: 'https://far.example/mcp',
  issuer: 'https://issuer.example',
  resource: 'https://far.example/mcp',
  client: { id: 'c' },
  accessToken: 'the-secret',
};

async function stored(): Promise<{ readonly store: FileTokenStore; readonly file: string; readonly folder: string }> {
  const store = new FileTokenStore({ directory: tempFolder() });
  await store.set('key', GRANT);
  const [name = ''] = readdirSync(store.directory);
  return { store, file: join(store.directory, name), folder: store.directory };
}

test('what is stored is there for the next process, in a file and a folder of this user alone', async () => {
  const { store, file, folder } = await stored();
  expect(await new FileTokenStore({ directory: join(folder, '..') }).get('key')).toEqual(GRANT);
  expect(await store.get('other')).toBeUndefined();
  expect([statSync(file).mode & 0o777, statSync(folder).mode & 0o777]).toEqual([0o600, 0o700]);
  await store.set('key', { ...GRANT, scope: 'more' });
  expect(readdirSync(folder)).toHaveLength(1);
  await store.delete('key');
  await store.delete('key');
  expect(readdirSync(folder)).toEqual([]);
});

test('a grant that would not be read is not written', async () => {
  const { store } = await stored();
  const large = { ...GRANT, client: { id: 'c'.repeat(70_000) } };
  expect(await failure(store.set('key', large))).toMatchObject({ message: expect.stringMatching(/70\d+ bytes/) });
  expect(await store.get('key')).toEqual(GRANT);
});

test('a key names no file elsewhere', async () => {
  const { store, folder } = await stored();
  await store.set('../../evil', GRANT);
  await store.set('x'.repeat(10_000), GRANT);
  expect(readdirSync(folder)).toHaveLength(3);
  expect(readdirSync(folder).every((name) => /^[0-9a-f]{64}\.json$/.test(name))).toBe(true);
});

const linked = (file: string): void => {
  renameSync(file, `${file}.x`);
  symlinkSync(`${file}.x`, file);
};
const foldered = (file: string): void => {
  renameSync(file, `${file}.x`);
  mkdirSync(file);
};

test.each<[string, (file: string) => void, string]>([
  ['may be read by others', (file) => chmodSync(file, 0o640), 'has the mode 0640, not 0600'],
  ['may be written by others', (file) => chmodSync(file, 0o602), 'has the mode 0602'],
  ['is a link', linked, 'is a link'],
  ['has a second name', (file) => linkSync(file, `${file}.x`), 'hard link'],
  ['is a folder', foldered, 'no plain file'],
  ['is too long', (file) => writeFileSync(file, ' '.repeat(70_000)), '70000 bytes'],
])('a file that %s is refused', async (_, harm, why) => {
  const { store, file } = await stored();
  harm(file);
  const error = await failure(store.get('key'));
  expect(error).toMatchObject({ message: expect.stringContaining(why) });
  expect(String(error)).not.toContain('the-secret');
});

test.each([
  ['is no JSON', '{"accessToken":"the-secret"', 'not JSON'],
  ['lacks something', JSON.stringify({ ...GRANT, issuer: undefined }), 'no grant: issuer'],
  ['has something else', JSON.stringify({ ...GRANT, accessToken: { 'the-secret': 1 } }), 'no grant: accessToken'],
])('a file that %s is refused, and not shown', async (_, text, why) => {
  const { store, file } = await stored();
  writeFileSync(file, text);
  const error = await failure(store.get('key'));
  expect(error).toMatchObject({ message: expect.stringContaining(why) });
  expect(String(error)).not.toContain('the-secret');
});

test('a folder that is a link is refused; one that others may enter is closed to them', async () => {
  const { store, folder } = await stored();
  chmodSync(folder, 0o755);
  expect(await store.get('key')).toEqual(GRANT);
  expect(statSync(folder).mode & 0o777).toBe(0o700);
  const elsewhere = tempFolder();
  symlinkSync(folder, join(elsewhere, 'tokens'));
  expect(await failure(new FileTokenStore({ directory: elsewhere }).get('key'))).toMatchObject({ code: 'EACCES' });
});

test('what one does alone, no other does at the same time; what was left behind holds no one up', async () => {
  const { store, folder } = await stored();
  const other = new FileTokenStore({ directory: join(folder, '..') });
  const { signal } = new AbortController();
  let inside = 0;
  let most = 0;
  const alone = (each: FileTokenStore): Promise<void> =>
    each.exclusive(
      'key',
      async () => {
        most = Math.max(most, ++inside);
        await new Promise((resolve) => setImmediate(resolve));
        inside--;
      },
      signal,
    );
  await Promise.all([store, other, store, other].map(alone));
  expect(most).toBe(1);
  const lock = readdirSync(folder).map((name) => join(folder, `${name}.lock`))[0] ?? '';
  // Of a process that is gone, and one that is too old to be held.
  writeFileSync(
    lock,
    JSON.stringify({
      host: (await import('node:os')).hostname(),
      pids: readlinkSync('/proc/self/ns/pid'),
      pid: 2 ** 22 + 1,
      id: 'a',
    }),
  );
  await alone(store);
  writeFileSync(lock, JSON.stringify({ host: 'elsewhere', pid: 1, id: 'a' }));
  utimesSync(lock, new Date(0), new Date(0));
  await alone(store);
  // One of another host that is new is waited for, until the signal ends it.
  writeFileSync(lock, JSON.stringify({ host: 'elsewhere', pid: 1, id: 'a' }));
  const reason = new Error('enough');
  const ending = new AbortController();
  const waiting = failure(store.exclusive('key', async () => undefined, ending.signal));
  ending.abort(reason);
  expect(await waiting).toBe(reason);
  expect(readdirSync(folder).filter((name) => name.includes('.lock'))).toHaveLength(1);
});

test('a file that is replaced while it is read is read again', async () => {
  const { store, folder } = await stored();
  const other = new FileTokenStore({ directory: join(folder, '..') });
  let over = false;
  const writing = (async () => {
    for (let i = 0; i < 40; i++) await other.set('key', GRANT);
    over = true;
  })();
  while (!over) await store.get('key');
  await writing;
});

test('what a process that was killed has begun to write is removed: with its grant, and when it is old', async () => {
  const { store, file, folder } = await stored();
  const draft = (of: string, id: string, ageMs: number): string => {
    const path = `${of}.${id.repeat(16)}.tmp`;
    writeFileSync(path, 'a secret', { mode: 0o600 });
    utimesSync(path, new Date(Date.now() - ageMs), new Date(Date.now() - ageMs));
    return path;
  };
  const other = join(folder, `${'0'.repeat(64)}.json`);
  const foreign = join(folder, 'notes.tmp');
  writeFileSync(foreign, '');
  utimesSync(foreign, new Date(0), new Date(0));
  draft(file, 'a', 0);
  const young = draft(other, 'b', 0);
  const old = draft(other, 'c', 120_000);
  await store.set('key', GRANT);
  expect(readdirSync(folder)).not.toContain(old.slice(folder.length + 1));
  expect(readdirSync(folder)).toHaveLength(4);
  await store.delete('key');
  expect(readdirSync(folder).sort()).toEqual([young.slice(folder.length + 1), 'notes.tmp'].sort());
});

test('options are checked', () => {
  expect(() => new FileTokenStore({ directory: '' })).toThrow(OptionError);
  expect(() => new FileTokenStore({ folder: 'x' } as never)).toThrow(OptionError);
});
