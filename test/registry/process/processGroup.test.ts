import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { StillAliveError } from '../../../src/core/errors.js';
import {
  bearsToken,
  childEnvironment,
  SERVED_VARIABLE,
  TOKEN_VARIABLE,
} from '../../../src/registry/process/environment.js';
import { ManagedProcess } from '../../../src/registry/process/ManagedProcess.js';
import { ProcessGroup } from '../../../src/registry/process/processGroup.js';
import {
  type ProcessRow,
  type ProcessTable,
  parseStat,
  readDescendants,
  readProcess,
  readProcessTable,
} from '../../../src/registry/process/processTable.js';
import { parsePsLine } from '../../../src/registry/process/ps/psTable.js';
import { StderrTail } from '../../../src/registry/process/StderrTail.js';
import { StopSequence } from '../../../src/registry/process/StopSequence.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';
import { isAlive, loseExit } from '../../support/processes.js';

const STAT =
  '42 (a) b (c)) S 7 40 39 0 -1 4194560 1 2 3 4 100 50 30 20 20 0 1 0 9876 1000000 256 18446744073709551615 1';

test('a line of /proc/PID/stat is read right whatever the program calls itself', () => {
  expect(parseStat(STAT)).toMatchObject({
    pid: 42,
    ppid: 7,
    pgid: 40,
    session: 39,
    state: 'S',
    alive: true,
    startTime: 9_876,
    cpuMs: 2_000,
  });
  expect(parseStat(STAT)?.residentBytes).toBe(256 * 4_096);
  expect(parseStat('')).toBeUndefined();
});

test('a zombie is not alive, unless other threads of it run on', () => {
  expect(parseStat(STAT.replace(' S ', ' Z '))?.alive).toBe(false);
  expect(parseStat(STAT.replace(' S ', ' Z ').replace(' 20 0 1 0 ', ' 20 0 3 0 '))?.alive).toBe(true);
});

test('this very process is in the table, as its own reading has it', async () => {
  const table = await readProcessTable();
  const row = table.rows.get(process.pid);
  expect(row).toMatchObject({ pid: process.pid, ppid: process.ppid, alive: true });
  expect(readProcess(process.pid)?.startTime).toBe(row?.startTime);
  expect(row?.residentBytes).toBeGreaterThan(2 ** 24);
  expect(table.environmentOf(process.pid, 'PATH')).toBe(process.env['PATH']);
  expect(table.environmentOf(process.pid, 'ATH')).toBeUndefined();
});

test('the descendants of a process are found without reading the whole table', async () => {
  const child = await ManagedProcess.spawn('tree', {
    command: '/bin/sh',
    args: ['-c', 'setsid sh -c "sleep 60; true" & cat'],
  });
  await expect.poll(() => readDescendants(child.pid)?.length).toBe(4);
  const rows = readDescendants(child.pid);
  expect(new Set(rows?.map(({ pid }) => pid))).toEqual(new Set((await child.group.members()).map(({ pid }) => pid)));
  await child.kill();
  expect(readDescendants(child.pid)).toBeUndefined();
});

test('whoever asks in one turn shares one reading of the table', async () => {
  const first = readProcessTable();
  expect(readProcessTable()).toBe(first);
  await first;
  const second = readProcessTable();
  expect(second).not.toBe(first);
  await second;
});

test('a line of ps is read right where there is no /proc', () => {
  expect(parsePsLine('  42     7    40 Ss+  12345 1-02:03:04 Sat Nov 21 21:08:38 2026')).toEqual({
    pid: 42,
    ppid: 7,
    pgid: 40,
    session: 40,
    state: 'S',
    alive: true,
    startTime: Date.parse('Sat Nov 21 21:08:38 2026') / 1_000,
    cpuMs: (((24 + 2) * 60 + 3) * 60 + 4) * 1_000,
    residentBytes: 12_345 * 1_024,
  });
  expect(parsePsLine('1 0 1 Z 0 0:01.50 Sat Nov 21 21:08:38 2026')).toMatchObject({ alive: false, cpuMs: 1_500 });
  expect(parsePsLine('')).toBeUndefined();
});

test('the token of an outer toolkit stays beside ours, so that both find the process', () => {
  const environment = childEnvironment({ env: { [TOKEN_VARIABLE]: 'forged' } }, 'inner', { [TOKEN_VARIABLE]: 'outer' });
  expect(environment[TOKEN_VARIABLE]).toBe('outer:inner');
  expect(bearsToken('outer:inner', 'inner')).toBe(true);
  expect(bearsToken('outer:inner', 'outer')).toBe(true);
  expect(bearsToken('outer:inner', 'inn')).toBe(false);
  expect(bearsToken(undefined, 'inner')).toBe(false);
});

test('which configs are served above is handed down, and cannot be replaced', () => {
  const environment = childEnvironment({ env: { [SERVED_VARIABLE]: 'forged' } }, 't', { [SERVED_VARIABLE]: 'a:b' });
  expect(environment[SERVED_VARIABLE]).toBe('a:b');
});

test('only the allow-list is inherited, and no exported shell function', () => {
  const own = { PATH: '/bin', LC_ALL: 'C', LC_EVIL: '() { :; }', AWS_SECRET: 's', WANTED: 'w', PRE_A: 'a' };
  expect(childEnvironment({ env: { PATH: '/own' }, inheritEnv: ['WANTED', 'PRE_*'] }, 't', own)).toEqual({
    PATH: '/own',
    LC_ALL: 'C',
    WANTED: 'w',
    PRE_A: 'a',
    [TOKEN_VARIABLE]: 't',
  });
});

test('the stderr tail keeps the last lines, each cut, however the bytes arrive', () =>
  fc.assert(
    fc.property(
      fc.array(fc.string({ unit: fc.constantFrom('a', 'é', '漢', '\r'), maxLength: 12 }), { maxLength: 12 }),
      fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }),
      (lines, cuts) => {
        const seen: string[] = [];
        const tail = new StderrTail(3, 24, (line) => seen.push(line));
        const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(''));
        for (let at = 0, i = 0; at < bytes.length; i++) {
          const length = cuts[i % cuts.length] ?? 1;
          tail.push(bytes.subarray(at, at + length));
          at += length;
        }
        tail.end();
        const whole = lines.filter((line) => Buffer.byteLength(line) <= 24).map((line) => line.replace(/\r$/, ''));
        expect(seen.filter((line) => !line.endsWith('…'))).toEqual(whole);
        expect(seen).toHaveLength(lines.length);
        expect(tail.lines).toEqual(seen.slice(-3));
      },
    ),
  ));

/** A group whose members the test decides. */
class ScriptedGroup extends ProcessGroup {
  alive: ProcessRow[] = [];
  readonly signals: string[] = [];
  onSignal: (signal: NodeJS.Signals) => void = () => undefined;

  override async members(): Promise<ProcessRow[]> {
    return this.alive;
  }

  override descendants(): ProcessRow[] {
    return this.alive;
  }

  override anyKnownAlive(): boolean {
    return this.alive.length > 0;
  }

  override async signal(signal: NodeJS.Signals): Promise<void> {
    if (this.signals.at(-1) !== signal) this.signals.push(signal);
    this.onSignal(signal);
  }
}

const ROW = parseStat(STAT.replace(' S ', ' D ')) as ProcessRow;

function scripted(graceMs: number) {
  const clock = new FakeClock();
  const group = new ScriptedGroup({ pgid: 42, token: 't', startTime: 1, ownChild: true });
  group.alive = [ROW];
  const exit = { seen: false, tell: (): void => undefined };
  const subject = {
    name: 'it',
    group,
    pid: 42,
    get exited() {
      return exit.seen;
    },
    onExit: (listener: () => void) => {
      exit.tell = () => {
        exit.seen = true;
        listener();
      };
      return { [Symbol.dispose]: () => undefined };
    },
    endInput: () => group.signals.push('EOF'),
  };
  const times = { stdinGraceMs: 1_000, termGraceMs: 500, killProofMs: 200, stopSignal: 'SIGINT' as const };
  return { clock, group, exit, sequence: new StopSequence(subject, times, clock, graceMs) };
}

test('the stop sequence keeps its times and reports what outlives SIGKILL, with its state', async () => {
  const { clock, group, sequence } = scripted(Number.POSITIVE_INFINITY);
  const run = sequence.run().catch((error: unknown) => error);
  await clock.advance(999);
  expect(group.signals).toEqual(['EOF']);
  await clock.advance(1);
  expect(group.signals).toEqual(['EOF', 'SIGINT', 'SIGCONT']);
  await clock.advance(499);
  expect(group.signals).toEqual(['EOF', 'SIGINT', 'SIGCONT']);
  await clock.advance(1);
  expect(group.signals.at(-1)).toBe('SIGKILL');
  await clock.advance(200);
  const error = (await run) as StillAliveError;
  expect(error).toBeInstanceOf(StillAliveError);
  expect(error).toMatchObject({ pid: 42, state: 'D (uninterruptible sleep)' });
  expect(clock.now()).toBe(1_700);
  expect(clock.armedTimers).toBe(0);
});

test('what remains after the exit of the direct child gets its signal at once', async () => {
  const { clock, group, exit, sequence } = scripted(Number.POSITIVE_INFINITY);
  const run = sequence.run();
  await clock.advance(10);
  exit.tell();
  await clock.advance(1);
  expect(group.signals).toEqual(['EOF', 'SIGINT', 'SIGCONT']);
  group.alive = [];
  await clock.advance(50);
  await run;
  expect(clock.armedTimers).toBe(0);
});

test('a shortened stop gives each step its share of what is left', async () => {
  const { clock, group, exit, sequence } = scripted(Number.POSITIVE_INFINITY);
  const run = sequence.run();
  await clock.advance(100);
  sequence.shorten(150);
  await clock.advance(99);
  expect(group.signals).toEqual(['EOF']);
  await clock.advance(1);
  expect(group.signals).toContain('SIGINT');
  await clock.advance(49);
  expect(group.signals).not.toContain('SIGKILL');
  sequence.shorten(10_000);
  await clock.advance(1);
  expect(group.signals).toContain('SIGKILL');
  group.alive = [];
  exit.tell();
  await clock.advance(1);
  await run;
});

test('a stop that cannot look at the processes signals the group all the same, and is proved once it can', async () => {
  const { clock, group, exit, sequence } = scripted(0);
  const look = vi.spyOn(group, 'members').mockRejectedValue(new Error('EMFILE'));
  vi.spyOn(group, 'descendants').mockImplementation(() => {
    throw new Error('EMFILE');
  });
  const run = sequence.run();
  await clock.advance(0);
  expect(group.signals).toEqual(['SIGKILL']);
  exit.tell();
  await clock.advance(50);
  look.mockRestore();
  group.alive = [];
  await clock.advance(50);
  await run;

  const blind = scripted(0);
  vi.spyOn(blind.group, 'members').mockRejectedValue(new Error('EMFILE'));
  const failed = expect(blind.sequence.run()).rejects.toThrow('EMFILE');
  blind.exit.tell();
  await blind.clock.advance(200);
  await failed;
});

test('no grace means SIGKILL at once, without EOF', async () => {
  const { clock, group, exit, sequence } = scripted(0);
  const run = sequence.run();
  await clock.advance(0);
  expect(group.signals).toEqual(['SIGKILL']);
  group.alive = [];
  exit.tell();
  await run;
});

test('one of which nothing is to be seen any more is not still alive: its end may be told later than the proof was due', async () => {
  const { clock, group, exit, sequence } = scripted(0);
  group.onSignal = () => (group.alive = []);
  const run = sequence.run().catch((error: unknown) => error);
  await clock.advance(300);
  exit.tell();
  await clock.advance(50);
  expect(await run).toBeUndefined();
});

test('what a first SIGKILL missed is looked for and killed again long before it is reported', async () => {
  const { clock, group, exit, sequence } = scripted(0);
  let kills = 0;
  group.onSignal = (signal) => {
    if (signal === 'SIGKILL' && ++kills === 2) group.alive = [];
  };
  exit.seen = true;
  const run = sequence.run();
  await clock.advance(100);
  await run;
  expect([kills, clock.now() < 150]).toEqual([2, true]);
  expect(clock.armedTimers).toBe(0);
});

test('SIGKILL reaches a member that has left the group since the look', async () => {
  const child = await ManagedProcess.spawn('leaver', {
    command: '/bin/sh',
    args: ['-c', 'sh -c "read x; exec setsid sleep 60"; sleep 60'],
  });
  await expect.poll(() => readDescendants(child.pid)?.length).toBe(2);
  const members = await child.group.members();
  const leaver = members.find(({ pid }) => pid !== child.pid) as ProcessRow;
  child.stdin.write('go\n');
  await expect.poll(() => readProcess(leaver.pid)?.pgid).toBe(leaver.pid);
  expect(leaver.pgid).toBe(child.pid);
  await child.group.signal('SIGKILL', members);
  await expect.poll(() => isAlive(leaver.pid)).toBe(false);
  await child.kill();
});

test('who ends in this turn kills what a child has started in a session of its own since the last look', async () => {
  const child = await ManagedProcess.spawn('starter', {
    command: '/bin/sh',
    args: ['-c', 'read x; setsid sleep 61 & echo $!; wait'],
  });
  await child.group.members();
  const [line] = await new Promise<string[]>((resolve) => {
    child.stdout.once('data', (data) => resolve(String(data).trim().split('\n')));
    child.stdin.write('go\n');
  });
  const helper = Number(line);
  await expect.poll(() => readProcess(helper)?.pgid).toBe(helper);
  child.group.killNow();
  await expect.poll(() => isAlive(helper)).toBe(false);
  await child.kill();
});

const table = (rows: readonly Partial<ProcessRow>[], tokens: Readonly<Record<number, string>> = {}): ProcessTable => ({
  rows: new Map(rows.map((row) => [row.pid ?? 0, { ...ROW, session: 0, ...row }])),
  environmentOf: (pid) => tokens[pid],
  catchUp: async () => true,
  catchUpNow: () => true,
});

test('members are the group, the bearers of the token, and the children of either; zombies and older ones are not', () => {
  const group = new ProcessGroup({ pgid: 100, token: 't', startTime: 50, ownChild: true });
  const rows = [
    { pid: 100, pgid: 100, ppid: 1, startTime: 50 },
    { pid: 101, pgid: 100, ppid: 100, startTime: 60 },
    { pid: 102, pgid: 100, ppid: 100, startTime: 60, alive: false },
    { pid: 103, pgid: 103, ppid: 1, startTime: 70 },
    { pid: 104, pgid: 104, ppid: 103, startTime: 80 },
    { pid: 105, pgid: 105, ppid: 1, startTime: 80 },
    { pid: 106, pgid: 106, ppid: 1, startTime: 40 },
  ];
  const members = group.membersIn(table(rows, { 103: 'outer:t', 105: 'other', 106: 't' }));
  expect(new Set(members.map(({ pid }) => pid))).toEqual(new Set([100, 101, 103, 104]));
  expect(group.strayed).toBe(true);
  // 104 carries no token and its parent has gone, but it was seen before.
  expect(group.membersIn(table([{ pid: 104, pgid: 104, ppid: 1, startTime: 80 }])).map(({ pid }) => pid)).toEqual([
    104,
  ]);
});

test('a group number that has passed to strangers is not ours any more', () => {
  const group = new ProcessGroup({ pgid: 100, token: 't', startTime: 50, ownChild: true });
  expect(group.membersIn(table([{ pid: 100, pgid: 100, startTime: 90 }]))).toEqual([]);
  const orphaned = new ProcessGroup({ pgid: 100, token: 't', startTime: 50, ownChild: false });
  expect(orphaned.membersIn(table([{ pid: 101, pgid: 100, startTime: 60 }]))).toEqual([]);
  const marked = new ProcessGroup({ pgid: 100, token: 't', startTime: 50, ownChild: false });
  const rows = [
    { pid: 101, pgid: 100, startTime: 60 },
    { pid: 102, pgid: 100, startTime: 60 },
  ];
  expect(marked.membersIn(table(rows, { 102: 't' }))).toHaveLength(2);
});

test('the polite signal is the one that was asked for, and reaches a child that is stopped', async () => {
  const child = await ManagedProcess.spawn(
    'sh',
    {
      command: '/bin/sh',
      args: ['-c', "trap 'exit 5' INT; trap '' TERM; kill -STOP $$; while :; do sleep 0.01; done"],
    },
    { stopSignal: 'SIGINT', stdinGraceMs: 20, termGraceMs: 5_000 },
  );
  await expect.poll(() => readProcess(child.pid)?.state).toBe('T');
  await child.stop();
  expect(child.exitInfo).toEqual({ exitCode: 5, signal: null });
});

test('an exit that gave no event is noticed when asked for, and the stop is proved all the same', async () => {
  const child = await ManagedProcess.spawn('cat', { command: '/bin/cat' });
  child.noticeLostExit();
  expect(child.exitInfo).toBeUndefined();
  loseExit(child.pid);
  process.kill(child.pid, 'SIGKILL');
  await expect.poll(() => readProcess(child.pid)).toBeUndefined();
  expect(child.exitInfo).toBeUndefined();
  child.noticeLostExit();
  expect(await child.exited).toEqual({ exitCode: null, signal: 'SIGKILL' });
  await child.stop();
  expect(isAlive(child.pid)).toBe(false);
});

test('a zombie in the group is no member, though signal 0 finds it', async () => {
  // The shell is replaced by a program that never waits for the child the shell had.
  const child = await ManagedProcess.spawn('zombies', {
    command: '/bin/sh',
    args: ['-c', 'true & exec sleep 60'],
  });
  const zombies = async (): Promise<ProcessRow[]> =>
    [...(await readProcessTable()).rows.values()].filter(({ pgid, state }) => pgid === child.pid && state === 'Z');
  await expect.poll(async () => (await zombies()).length).toBe(1);
  expect((await child.group.members()).map(({ pid }) => pid)).toEqual([child.pid]);
  await child.kill();
});
