import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { LifecycleManager } from '../../../src/registry/lifecycle/LifecycleManager.js';
import type { ProcessRecord } from '../../../src/registry/lifecycle/record.js';
import { ManagedProcess } from '../../../src/registry/process/ManagedProcess.js';
import { ProcessLedger } from '../../../src/registry/process/ProcessLedger.js';
import { closeAfter } from '../../support/closeAfter.js';
import { bearersOf, isAlive, OWNER } from '../../support/processes.js';

let parent: string;
let directory: string;

beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), 'poolkit-ledger-'));
  directory = join(parent, 'processes');
});

afterEach(() => {
  rmSync(join(directory, '..'), { recursive: true });
});

const CAT = { command: '/bin/cat' };
const records = (): string[] => readdirSync(directory).filter((file) => file.endsWith('.json'));
const readRecord = (file: string): ProcessRecord => JSON.parse(readFileSync(join(directory, file), 'utf8'));

/** Makes a record look as if its owner, a process that has had our pid, were gone. */
function orphan(record: ProcessRecord, change: Partial<ProcessRecord> = {}): void {
  const gone = { ...record, owner: { ...record.owner, startTime: record.owner.startTime + 1 }, ...change };
  writeFileSync(join(directory, `${record.token}.json`), JSON.stringify(gone));
}

const manage = (): LifecycleManager => closeAfter(new LifecycleManager({ ledger: { directory: parent } }));

test('the folder is for its owner alone, and so is each record', async () => {
  const ledger = await ProcessLedger.open({ directory: parent });
  const record = await ledger.intend('cat', CAT);
  expect(statSync(directory).mode & 0o777).toBe(0o700);
  expect(statSync(join(directory, `${record.token}.json`)).mode & 0o777).toBe(0o600);
});

test('a record stands before the spawn, is completed after it and is gone when the child is dead', async () => {
  const manager = manage();
  const seen: string[][] = [];
  manager.on('starting', () => seen.push(records()));
  let before: ProcessRecord | undefined;
  manager.on('started', ({ pid }) => {
    before = readRecord(records()[0] ?? '');
    expect(isAlive(pid)).toBe(true);
  });
  const handle = await manager.start({ id: 'a', name: 'cat', ...CAT });
  expect(seen).toEqual([[]]);
  expect(before).toMatchObject({ token: handle.process.token, name: 'cat', owner: { pid: process.pid } });
  expect(before?.child).toBeUndefined();
  expect(readRecord(records()[0] ?? '').child).toEqual({
    pid: handle.process.pid,
    startTime: handle.process.startTime,
  });
  await handle.stop();
  expect(records()).toEqual([]);
});

test('a start that fails leaves no record', async () => {
  const manager = manage();
  await expect(manager.start({ name: 'none', command: '/does/not/exist' })).rejects.toThrow('did not start');
  expect(records()).toEqual([]);
});

test('an orphan is ended by its token alone, when its owner was killed before the record was completed', async () => {
  const ledger = await ProcessLedger.open({ directory: parent });
  const record = await ledger.intend('cat', CAT);
  const child = await ManagedProcess.spawn('cat', CAT, { token: record.token });
  orphan(record);
  await manage().swept();
  expect((await child.exited).signal).toBe('SIGTERM');
  expect(records()).toEqual([]);
  await child.stop();
});

test('an orphan that cleared its environment is ended by pid and start time, its group too', async () => {
  const ledger = await ProcessLedger.open({ directory: parent });
  const record = await ledger.intend('bare', CAT);
  const script = 'sleep 60 & echo $!; exec env -i sleep 60';
  const child = await ManagedProcess.spawn(
    'bare',
    { command: '/bin/sh', args: ['-c', script] },
    { token: record.token },
  );
  const helper = await new Promise<number>((resolve) => child.stdout.once('data', (chunk) => resolve(Number(chunk))));
  await expect.poll(() => bearersOf(record.token)).toEqual([helper]);
  orphan(record, { token: record.token, child: { pid: child.pid, startTime: child.startTime } });
  await manage().swept();
  expect((await child.exited).signal).toBe('SIGTERM');
  expect(isAlive(helper)).toBe(false);
  await child.stop();
});

test('a pid that was given to another process is left alone', async () => {
  const ledger = await ProcessLedger.open({ directory: parent });
  const record = await ledger.intend('gone', CAT);
  const stranger = await ManagedProcess.spawn('stranger', CAT);
  orphan(record, { child: { pid: stranger.pid, startTime: stranger.startTime - 1 } });
  await manage().swept();
  expect(isAlive(stranger.pid)).toBe(true);
  expect(records()).toEqual([]);
  await stranger.stop();
});

/** Starts its thread, says what that says, ends it when it is told to, and lives on. */
const THREADED = `
  const thread = new (require('node:worker_threads').Worker)(process.argv[1], { argv: process.argv.slice(2) });
  process.stdin.once('data', () => thread.terminate().then(() => console.log('ended')));
`;

test('what a worker thread left is ended by the next owner, though its process lives', async () => {
  const configs = JSON.stringify([{ id: 'a', name: 'sleep', command: '/bin/sleep', args: ['600'] }]);
  const owner = spawn(process.execPath, ['-e', THREADED, OWNER, parent, configs], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: owner.stdout });
  const [owned] = await once(lines, 'line');
  const [{ pid }] = JSON.parse(owned.slice('owned '.length));
  await manage().swept();
  expect(isAlive(pid)).toBe(true);
  owner.stdin.write('end it');
  expect(await once(lines, 'line')).toEqual(['ended']);
  expect(isAlive(pid)).toBe(true);
  await manage().swept();
  expect([isAlive(pid), records()]).toEqual([false, []]);
  owner.stdin.end();
  await once(owner, 'exit');
});

test("a living owner's children and records are not touched", async () => {
  const ours = await manage().start({ name: 'cat', ...CAT });
  await manage().swept();
  expect(isAlive(ours.process.pid)).toBe(true);
  expect(records()).toEqual([`${ours.process.token}.json`]);
});

test('a record of another boot is dropped, one of another host or container is kept', async () => {
  const ledger = await ProcessLedger.open({ directory: parent });
  const rebooted = await ledger.intend('rebooted', CAT);
  const far = await ledger.intend('far', CAT);
  const contained = await ledger.intend('contained', CAT);
  orphan(rebooted, { place: { ...rebooted.place, boot: 'before' } });
  orphan(far, { place: { ...far.place, host: 'elsewhere' } });
  orphan(contained, { place: { ...contained.place, pidNamespace: 'pid:[1]' } });
  expect(await ledger.read()).toEqual({ orphans: [], rejected: [] });
  expect(new Set(records())).toEqual(new Set([`${far.token}.json`, `${contained.token}.json`]));
  const old = Date.now() / 1_000 - 31 * 24 * 3_600;
  utimesSync(join(directory, `${far.token}.json`), old, old);
  await ledger.read();
  expect(records()).toEqual([`${contained.token}.json`]);
});

test('a record that is not to be trusted is moved aside and reported; what others put there stays; nothing is ended for it', async () => {
  const ledger = await ProcessLedger.open({ directory: parent });
  const good = await ledger.intend('good', CAT);
  const stranger = await ManagedProcess.spawn('stranger', CAT);
  const forged = { ...good, child: { pid: stranger.pid, startTime: stranger.startTime } };
  writeFileSync(join(directory, 'torn.json'), '{"version":1,"tok');
  writeFileSync(join(directory, 'empty.json'), '');
  writeFileSync(join(directory, 'notes.txt'), 'hello');
  writeFileSync(join(directory, `${'0'.repeat(32)}.json`), JSON.stringify(forged));
  writeFileSync(
    join(directory, `${'1'.repeat(32)}.json`),
    JSON.stringify({ ...forged, token: '1'.repeat(32), version: 2 }),
  );
  writeFileSync(join(directory, `${'2'.repeat(32)}.json`), JSON.stringify({ ...forged, token: '' }));
  // All right but for being a link: whoever owns what it points to could change it.
  const linked = join(directory, '..', 'linked.json');
  writeFileSync(linked, JSON.stringify({ ...good, token: '3'.repeat(32) }));
  symlinkSync(linked, join(directory, `${'3'.repeat(32)}.json`));
  mkdirSync(join(directory, 'folder'));
  const manager = manage();
  const reports: string[] = [];
  manager.on('swept', ({ swept, rejected }) => {
    expect(swept).toEqual([]);
    reports.push(...rejected.map(({ file }) => file));
  });
  await manager.swept();
  expect(reports.sort()).toEqual(['0', '1', '2', '3'].map((digit) => `${digit.repeat(32)}.json`));
  expect(readdirSync(directory).sort()).toEqual(
    [
      `${good.token}.json`,
      'rejected',
      'torn.json',
      'empty.json',
      'notes.txt',
      'folder',
      `${'3'.repeat(32)}.json`,
    ].sort(),
  );
  expect(readdirSync(join(directory, 'rejected'))).toHaveLength(3);
  expect(isAlive(stranger.pid)).toBe(true);
  await stranger.stop();
});

test('a folder that others may write is not used: that is reported, and servers start without a ledger', async () => {
  mkdirSync(directory);
  chmodSync(directory, 0o777);
  const manager = manage();
  const failures: unknown[] = [];
  manager.on('ledgerFailed', ({ error }) => failures.push(error));
  await manager.start({ name: 'cat', ...CAT });
  expect(failures.map(String)).toEqual([expect.stringMatching(/may be written by others \(mode 0777\)/)]);
  expect(records()).toEqual([]);
});

test('a folder that cannot be made, or vanishes, is reported and starts go on', async () => {
  writeFileSync(directory, 'a file');
  const unusable = manage();
  const failures: string[] = [];
  unusable.on('ledgerFailed', ({ error }) => failures.push((error as NodeJS.ErrnoException).code ?? ''));
  await unusable.start({ name: 'cat', ...CAT });
  expect(failures).toEqual(['ENOTDIR']);
  rmSync(directory);
  const vanishing = manage();
  vanishing.on('ledgerFailed', ({ error }) => failures.push((error as NodeJS.ErrnoException).code ?? ''));
  await vanishing.swept();
  rmSync(directory, { recursive: true });
  const handle = await vanishing.start({ name: 'cat', ...CAT });
  await handle.stop();
  expect(failures).toEqual(['ENOTDIR', 'ENOENT']);
});

test('by default the ledger is in the state folder of the user', async () => {
  const before = process.env['XDG_STATE_HOME'];
  process.env['XDG_STATE_HOME'] = directory;
  try {
    const ledger = await ProcessLedger.open();
    expect(ledger.directory).toBe(join(directory, 'mcp-poolkit', 'processes'));
    expect(existsSync(ledger.directory)).toBe(true);
  } finally {
    if (before === undefined) delete process.env['XDG_STATE_HOME'];
    else process.env['XDG_STATE_HOME'] = before;
  }
});

test('what others keep in the folder is never moved or removed, however much it is; a planted link is refused', async () => {
  const victim = join(parent, 'victim');
  for (const folder of [victim, directory]) mkdirSync(folder, { recursive: true, mode: 0o700 });
  for (let index = 0; index < 150; index++) {
    for (const folder of [parent, directory, victim]) writeFileSync(join(folder, `${index}-note.json`), 'mine');
    mkdirSync(join(directory, `folder-${index}`));
    symlinkSync(victim, join(directory, `link-${index}`));
  }
  // Records that are broken make the ledger tidy its folder `rejected`, which is a link to a folder of this user.
  symlinkSync(victim, join(directory, 'rejected'));
  for (let index = 0; index < 3; index++) writeFileSync(join(directory, `${String(index).repeat(32)}.json`), 'torn');
  const before = [parent, directory, victim].map((folder) => readdirSync(folder).sort());
  const ledger = await ProcessLedger.open({ directory: parent });
  const { rejected } = await ledger.read();
  expect(rejected.map(({ why }) => why.includes('left in place'))).toEqual([true, true, true]);
  expect([parent, directory, victim].map((folder) => readdirSync(folder).sort())).toEqual(before);
});

test('a ledger folder that is a link is refused at open, one that becomes a link is refused when used', async () => {
  const elsewhere = join(parent, 'elsewhere');
  mkdirSync(elsewhere, { mode: 0o700 });
  symlinkSync(elsewhere, directory);
  await expect(ProcessLedger.open({ directory: parent })).rejects.toThrow('is a link or no folder');
  rmSync(directory);
  const ledger = await ProcessLedger.open({ directory: parent });
  rmSync(directory, { recursive: true });
  symlinkSync(elsewhere, directory);
  await expect(ledger.intend('cat', CAT)).rejects.toThrow('is a link or no folder');
  expect(readdirSync(elsewhere)).toEqual([]);
});

test('a folder where nothing can be made is an error at once, not an endless try', async () => {
  await expect(ProcessLedger.open({ directory: '/proc/none/mcp-poolkit' })).rejects.toThrow('takes no folders');
});
