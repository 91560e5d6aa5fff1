import { once } from 'node:events';
import { createServer } from 'node:net';
import { expect, test } from 'vitest';
import {
  ClosedError,
  OptionError,
  QueueFullError,
  ServerNotFoundError,
  ServerStoppedError,
  StartError,
} from '../../../src/core/errors.js';
import { LifecycleManager } from '../../../src/registry/lifecycle/LifecycleManager.js';
import type { LifecycleConfig, LifecycleManagerOptions } from '../../../src/registry/lifecycle/options.js';
import { closeAfter } from '../../support/closeAfter.js';
import { isAlive, loseExit } from '../../support/processes.js';

const make = (options: LifecycleManagerOptions = {}): LifecycleManager =>
  closeAfter(new LifecycleManager({ ledger: false, ...options }));

const sh = (script: string, config: Partial<LifecycleConfig> = {}): LifecycleConfig => ({
  id: 'a',
  name: 'server a',
  command: '/bin/sh',
  args: ['-c', script],
  stdinGraceMs: 100,
  termGraceMs: 100,
  backoff: { initialMs: 1, maxMs: 5 },
  ...config,
});

const CAT = sh('exec cat');
const STUBBORN = sh("trap '' TERM; echo up; for i in 1 2 3 4 5 6; do sleep 20; done", {
  readiness: { type: 'line', match: 'up' },
});

const event = <K extends 'exited' | 'restarting' | 'failed' | 'ready' | 'started' | 'stopped' | 'starting'>(
  manager: LifecycleManager,
  name: K,
): Promise<unknown> => new Promise((resolve) => manager.on(name, resolve));

test('a server is started, known by its id, shown by status and stopped', async () => {
  const manager = make();
  const before = Date.now();
  const handle = await manager.start(sh('echo careful >&2; exec cat'));
  await expect.poll(() => handle.status().stderr).toEqual(['careful']);
  const status = manager.status('a');
  expect(status).toMatchObject({ id: 'a', name: 'server a', state: 'ready', pid: handle.process.pid, restarts: 0 });
  expect(status.startedAt).toBeGreaterThanOrEqual(before - 1);
  expect(status.uptimeMs).toBeGreaterThan(0);
  expect(manager.list()).toHaveLength(1);
  await handle.stop();
  expect(manager.status('a')).toMatchObject({ state: 'stopped', exitCode: 0, signal: null, uptimeMs: 0 });
  expect(isAlive(handle.process.pid)).toBe(false);
});

test('events tell the whole life of a server, in order and with its id', async () => {
  const manager = make();
  const seen: string[] = [];
  for (const name of [
    'starting',
    'started',
    'ready',
    'exited',
    'restarting',
    'stopped',
    'failed',
    'removed',
  ] as const) {
    manager.on(name, ({ id }) => seen.push(`${id} ${name}`));
  }
  const handle = await manager.start({ ...CAT, restart: 'on-failure' });
  const again = new Promise((resolve) => manager.on('ready', resolve));
  process.kill(handle.process.pid, 'SIGKILL');
  await again;
  await handle.remove();
  const life = ['starting', 'started', 'ready', 'exited'];
  expect(seen).toEqual([...life, 'restarting', ...life, 'stopped', 'removed'].map((name) => `a ${name}`));
});

test('a program that cannot be started is a StartError, and its id stays known as failed', async () => {
  const manager = make();
  await expect(manager.start({ id: 'none', name: 'none', command: '/does/not/exist' })).rejects.toMatchObject({
    code: 'ERR_START_FAILED',
    cause: { code: 'ENOENT' },
  });
  expect(manager.status('none')).toMatchObject({ state: 'failed', pid: undefined, lastError: expect.any(StartError) });
});

test('one that ends before it is ready says with what code and what it wrote last', async () => {
  const manager = make();
  const start = manager.start(sh('echo no config >&2; exit 7', { readiness: { type: 'line', match: 'up' } }));
  await expect(start).rejects.toMatchObject({ code: 'ERR_START_FAILED', exitCode: 7, stderr: ['no config'] });
  await expect(start).rejects.toThrow(
    'server "server a" did not start: it ended before it was ready (stderr: no config)',
  );
});

test('one that is not ready in time is dead when its start fails', async () => {
  const manager = make();
  let pid = 0;
  manager.on('started', (started) => {
    pid = started.pid;
  });
  const start = manager.start(sh('exec cat', { readiness: { type: 'line', match: 'up' }, readyTimeoutMs: 50 }));
  await expect(start).rejects.toThrow('it was not ready within 50 ms');
  expect(pid).toBeGreaterThan(0);
  expect(isAlive(pid)).toBe(false);
  expect(manager.status('a').state).toBe('failed');
});

test('a ready line is consumed and the reader gets what follows it', async () => {
  const manager = make();
  const script = "printf 'booting\\nlistening on 42\\nfirst\\nsec'; read x; echo ond $x; exec cat";
  const { process: child } = await manager.start(
    sh(script, { readiness: { type: 'line', match: /^listening on \d+$/ } }),
  );
  let text = '';
  child.stdout.on('data', (chunk) => {
    text += String(chunk);
  });
  child.stdin.write('here\n');
  await expect.poll(() => text).toBe('first\nsecond here\n');
});

test('a port is ready when it accepts', async () => {
  const manager = make();
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as { port: number };
  probe.close();
  await once(probe, 'close');
  const code = `setTimeout(() => require('net').createServer().listen(${port}, '127.0.0.1'), 30); process.stdin.on('end', () => process.exit()).resume()`;
  await manager.start({
    name: 'port',
    command: process.execPath,
    args: ['-e', code],
    readiness: { type: 'port', port },
  });
  expect(manager.list()[0]?.state).toBe('ready');
});

test('stop while starting ends the process, and the start tells that it was stopped', async () => {
  const manager = make();
  const start = manager.start({ ...CAT, readiness: { type: 'line', match: 'never' } });
  const refused = expect(start).rejects.toBeInstanceOf(ServerStoppedError);
  const { pid } = (await event(manager, 'started')) as { pid: number };
  await manager.stop('a');
  await refused;
  expect(isAlive(pid)).toBe(false);
  expect(manager.status('a').state).toBe('stopped');
});

test('stop in the turn of start, before there is a process, starts none', async () => {
  const manager = make();
  const refused = expect(manager.start(CAT)).rejects.toBeInstanceOf(ServerStoppedError);
  await manager.stop('a');
  await refused;
  expect(manager.status('a')).toMatchObject({ state: 'stopped', pid: undefined });
});

test('stop while backing off ends it for good', async () => {
  const manager = make();
  await manager.start(sh('sleep 0.02; exit 1', { restart: 'always', backoff: { initialMs: 60_000, maxMs: 60_000 } }));
  await event(manager, 'restarting');
  expect(manager.status('a').state).toBe('backingOff');
  await manager.stop('a');
  expect(manager.status('a')).toMatchObject({ state: 'stopped', restarts: 0, exitCode: 1 });
});

test('every caller of restart shares one, and never are two processes alive at once', async () => {
  const manager = make();
  const alive = new Set<number>();
  let most = 0;
  manager.on('started', ({ pid }) => {
    alive.add(pid);
    most = Math.max(most, alive.size);
  });
  manager.on('exited', ({ pid }) => alive.delete(pid));
  await manager.start(STUBBORN);
  await Promise.all([manager.restart('a'), manager.restart('a'), manager.restart('a')]);
  expect(most).toBe(1);
  expect(manager.status('a')).toMatchObject({ state: 'ready', restarts: 1 });
  await manager.kill('a');
});

test('stop during a restart wins, whether it comes in its stop or in its start', async () => {
  const manager = make();
  await manager.start(STUBBORN);
  const first = expect(manager.restart('a')).rejects.toBeInstanceOf(ServerStoppedError);
  await manager.stop('a');
  await first;
  expect(manager.status('a').state).toBe('stopped');
  const started = event(manager, 'started');
  const second = expect(manager.restart('a')).rejects.toBeInstanceOf(ServerStoppedError);
  await started;
  await manager.stop('a');
  await second;
  expect(manager.status('a').state).toBe('stopped');
});

test('restart works on an id that crashed, that was stopped, and that failed to start', async () => {
  const manager = make();
  const handle = await manager.start(CAT);
  const exited = event(manager, 'exited');
  process.kill(handle.process.pid, 'SIGKILL');
  await exited;
  expect(manager.status('a')).toMatchObject({ state: 'exited', exitCode: null, signal: 'SIGKILL' });
  await manager.restart('a');
  await manager.stop('a');
  await manager.restart('a');
  expect(manager.status('a')).toMatchObject({ state: 'ready', restarts: 2 });
  await expect(manager.start(sh('exit 1', { id: 'b', readiness: { type: 'line', match: 'up' } }))).rejects.toThrow();
  await expect(manager.restart('b')).rejects.toBeInstanceOf(StartError);
  expect(manager.status('b')).toMatchObject({ state: 'failed', restarts: 1 });
});

test('a crash loop is restarted within its budget and then has failed', async () => {
  const manager = make({ random: () => 0 });
  const delays: number[] = [];
  manager.on('restarting', ({ delayMs }) => delays.push(delayMs));
  const failed = event(manager, 'failed');
  await manager.start(sh('sleep 0.02; exit 9', { restart: 'on-failure', maxRestarts: 3 }));
  await failed;
  expect(manager.status('a')).toMatchObject({ state: 'failed', restarts: 3, exitCode: 9 });
  expect(delays).toEqual([1, 2, 4]);
});

test('what a crashed server left behind is dead before the next run begins', async () => {
  const manager = make();
  const left: number[] = [];
  const restarted = new Promise<number[]>((resolve) => {
    manager.on('starting', ({ attempt }) => attempt > 0 && resolve(left.filter(isAlive)));
  });
  const handle = await manager.start(
    sh('setsid sh -c \'trap "" TERM; echo $$; for i in 1 2 3 4 5 6; do sleep 20; done\' & sleep 0.1; exit 1', {
      restart: 'always',
    }),
  );
  handle.process.stdout.on('data', (chunk) => left.push(Number(chunk)));
  expect(await restarted).toEqual([]);
  expect(left).toHaveLength(1);
  await manager.kill('a');
});

test('remove forgets an id that is over at once, and stops one that is not', async () => {
  const manager = make();
  const handle = await manager.start(CAT);
  await handle.remove();
  expect(isAlive(handle.process.pid)).toBe(false);
  expect(() => manager.status('a')).toThrow(ServerNotFoundError);
  await expect(manager.stop('a')).rejects.toBeInstanceOf(ServerNotFoundError);
});

test('a handle whose server was removed does nothing to another that has its id', async () => {
  const manager = make();
  const old = await manager.start(CAT);
  await Promise.all([old.remove(), old.remove({ graceMs: 0 })]);
  const { process: child } = await manager.start(CAT);
  await old.stop();
  await old.kill();
  await old.remove();
  await expect(old.restart()).rejects.toBeInstanceOf(ServerNotFoundError);
  expect(isAlive(child.pid)).toBe(true);
  expect(manager.status('a').pid).toBe(child.pid);
});

test('an id in use is refused, one that is over is taken again with the new config', async () => {
  const manager = make();
  const handle = await manager.start(CAT);
  await expect(manager.start(CAT)).rejects.toBeInstanceOf(OptionError);
  await handle.stop();
  await manager.start({ ...CAT, name: 'other' });
  expect(manager.list().map(({ id, name, state }) => [id, name, state])).toEqual([['a', 'other', 'ready']]);
});

test('the table of ids is bounded: the longest dead makes room, and with none dead a start is refused', async () => {
  const manager = make({ maxServers: 2 });
  await manager.start({ ...CAT, id: 'a' });
  await manager.start({ ...CAT, id: 'b' });
  await expect(manager.start({ ...CAT, id: 'c' })).rejects.toBeInstanceOf(QueueFullError);
  await manager.stop('b');
  await manager.stop('a');
  await manager.start({ ...CAT, id: 'c' });
  expect(manager.list().map(({ id }) => id)).toEqual(['a', 'c']);
});

test('the long dead are forgotten by the reaper, the living and the newly dead are not', async () => {
  const manager = make({ forgetAfterMs: 0, reapIntervalMs: 10 });
  await manager.start({ ...CAT, id: 'living' });
  await manager.start({ ...CAT, id: 'dead' });
  await manager.stop('dead');
  await expect.poll(() => manager.list().map(({ id }) => id)).toEqual(['living']);
});

test('the reaper notices an exit that gave no event, and the policy applies to it', async () => {
  const manager = make({ reapIntervalMs: 10 });
  const handle = await manager.start({ ...CAT, restart: 'on-failure' });
  const ready = event(manager, 'ready');
  loseExit(handle.process.pid);
  process.kill(handle.process.pid, 'SIGKILL');
  await ready;
  expect(manager.status('a')).toMatchObject({ state: 'ready', restarts: 1, signal: 'SIGKILL' });
});

test('a readiness check that never ends is abandoned and named by close, and its server is dead', async () => {
  const manager = new LifecycleManager({ ledger: false });
  let checked!: (pid: number) => void;
  const checking = new Promise<number>((resolve) => {
    checked = resolve;
  });
  const check = ({ pid }: { pid: number }): Promise<void> => {
    checked(pid);
    return new Promise(() => undefined);
  };
  const start = manager.start({ ...CAT, readiness: { type: 'check', check } });
  const refused = expect(start).rejects.toBeInstanceOf(ClosedError);
  const pid = await checking;
  let closed = false;
  const close = manager.close({ graceMs: 60_000 }).finally(() => {
    closed = true;
  });
  await refused;
  expect(isAlive(pid)).toBe(false);
  expect(closed).toBe(false);
  manager.close({ graceMs: 0 }).catch(() => undefined);
  await expect(close).rejects.toMatchObject({
    errors: [{ code: 'ERR_SHUTDOWN_TIMEOUT', what: 'the readiness check of server a' }],
  });
});

test('after close nothing starts, and what is known can still be looked at', async () => {
  const manager = make();
  await manager.start(CAT);
  await manager.close();
  await expect(manager.start(CAT)).rejects.toBeInstanceOf(ClosedError);
  await expect(manager.restart('a')).rejects.toBeInstanceOf(ClosedError);
  expect(manager.status('a').state).toBe('stopped');
  await manager.stop('a');
});

test('a bad option is refused with its name', () => {
  expect(() => new LifecycleManager({ reapIntervalMs: 0 })).toThrow('reapIntervalMs');
  expect(() => new LifecycleManager({ ledger: { directory: '' } })).toThrow('ledger.directory');
});

test.each([
  ['name', { name: '' }],
  ['command', { command: '' }],
  ['restart', { restart: 'sometimes' }],
  ['maxRestarts', { maxRestarts: -1 }],
  ['backoff.jitterRatio', { backoff: { jitterRatio: 2 } }],
  ['readiness', { readiness: { type: 'hope' } }],
  ['readiness.port', { readiness: { type: 'port', port: 70_000 } }],
  ['termGraceMs', { termGraceMs: Number.NaN }],
  ['stopSignal', { stopSignal: 'SIGNOTHING' }],
  ['stdout', { stdout: 'nowhere' }],
])('a config with a bad %s is refused and leaves no id behind', async (option, wrong) => {
  const manager = make();
  await expect(manager.start({ ...CAT, ...wrong } as LifecycleConfig)).rejects.toMatchObject({
    code: 'ERR_OPTION',
    option,
  });
  expect(manager.list()).toEqual([]);
});
