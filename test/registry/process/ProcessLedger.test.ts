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
import { afterEach, beforeEach, expect, test } from 'vitest';
import { LifecycleManager } from '../../../src/registry/lifecycle/LifecycleManager.js';
import type { ProcessRecord } from '../../../src/registry/lifecycle/record.js';
import { ManagedProcess } from '../../../src/registry/process/ManagedProcess.js';
import { ProcessLedger } from '../../../src/registry/process/ProcessLedger.js';
import { closeAfter } from '../../support/closeAfter.js';
import { bearersOf, isAlive } from '../../support/processes.js';

let directory: string;

beforeEach(() => {
  directory = join(mkdtempSync(join(tmpdir(), 'poolkit-ledger-')), 'processes');
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

const manage = (): LifecycleManager => closeAfter(new LifecycleManager({ ledger: { directory } }));

test('the folder is for its owner alone, and so is each record', async () => {
  const ledger = await ProcessLedger.open({ directory });
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
  const ledger = await ProcessLedger.open({ directory });
  const record = await ledger.intend('cat', CAT);
  const child = await ManagedProcess.spawn('cat', CAT, { token: record.token });
  orphan(record);
  await manage().swept();
  expect((await child.exited).signal).toBe('SIGTERM');
  expect(records()).toEqual([]);
  await child.stop();
});

test('an orphan that cleared its environment is ended by pid and start time, its group too', async () => {
  const ledger = await ProcessLedger.open({ directory });
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
  const ledger = await ProcessLedger.open({ directory });
  const record = await ledger.intend('gone', CAT);
  const stranger = await ManagedProcess.spawn('stranger', CAT);
  orphan(record, { child: { pid: stranger.pid, startTime: stranger.startTime - 1 } });
  await manage().swept();
  expect(isAlive(stranger.pid)).toBe(true);
  expect(records()).toEqual([]);
  await stranger.stop();
});

test("a living owner's children and records are not touched", async () => {
  const ours = await manage().start({ name: 'cat', ...CAT });
  await manage().swept();
  expect(isAlive(ours.process.pid)).toBe(true);
  expect(records()).toEqual([`${ours.process.token}.json`]);
});

test('a record of another boot is dropped, one of another host or container is kept', async () => {
  const ledger = await ProcessLedger.open({ directory });
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

test('what is no record of ours is moved aside and reported, and nothing is ended for it', async () => {
  const ledger = await ProcessLedger.open({ directory });
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
  expect(reports).toHaveLength(8);
  expect(readdirSync(directory).sort()).toEqual([`${good.token}.json`, 'rejected'].sort());
  expect(readdirSync(join(directory, 'rejected'))).toHaveLength(8);
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
  expect(failures).toEqual(['EEXIST']);
  rmSync(directory);
  const vanishing = manage();
  vanishing.on('ledgerFailed', ({ error }) => failures.push((error as NodeJS.ErrnoException).code ?? ''));
  await vanishing.swept();
  rmSync(directory, { recursive: true });
  const handle = await vanishing.start({ name: 'cat', ...CAT });
  await handle.stop();
  expect(failures).toEqual(['EEXIST', 'ENOENT']);
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
