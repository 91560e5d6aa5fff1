import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { LifecycleManager, type ServerHandle } from '../../../src/registry/lifecycle/LifecycleManager.js';
import type { LifecycleConfig } from '../../../src/registry/lifecycle/options.js';
import type { ManagedProcess } from '../../../src/registry/process/ManagedProcess.js';
import { closeAfter } from '../../support/closeAfter.js';
import { bearersOf, isAlive, OWNER, pidsOf, unruly } from '../../support/processes.js';

// Sixteen children at once, most of them a Node of their own: a busy machine takes its time.
vi.setConfig({ testTimeout: 60_000 });

const GRACES = { stdinGraceMs: 100, termGraceMs: 100 };

const upFrom = (kind: string, config: Partial<LifecycleConfig> = {}): LifecycleConfig => ({
  name: kind,
  ...unruly(kind),
  ...GRACES,
  ...config,
});

const shell = (name: string, script: string): LifecycleConfig => ({
  name,
  command: '/bin/sh',
  args: ['-c', script],
  ...GRACES,
});

const SERVER = unruly('ignoresSigterm');

/** Every kind of child that is ready with an `up` line. */
const READY: readonly LifecycleConfig[] = [
  upFrom('wellBehaved'),
  upFrom('ignoresEof'),
  upFrom('ignoresSigterm'),
  upFrom('leavesGrandchild'),
  upFrom('daemonises'),
  upFrom('clearsEnvironment'),
  upFrom('clearsEnvironmentAndDaemonises'),
  upFrom('floods'),
  upFrom('allocates'),
  upFrom('spins'),
  upFrom('wraps'),
  shell('shellWrapper', `${SERVER.command} ${SERVER.args.join(' ')}; true`),
  // `exec` keeps the child that ended a zombie: nobody will wait for it.
  shell('leavesZombies', 'true & true & echo up $$; exec sleep 60'),
];

/** And those that are never, or not for long. */
const CRASHING: readonly LifecycleConfig[] = [
  upFrom('crashesAtOnce'),
  upFrom('crashesLater'),
  { ...upFrom('crashesAtOnce'), name: 'crashLoops', restart: 'always', maxRestarts: 1_000, backoff: { initialMs: 1 } },
];

interface Started {
  readonly handle: ServerHandle;
  readonly process: ManagedProcess;
  readonly pids: readonly number[];
}

async function startAll(manager: LifecycleManager): Promise<Started[]> {
  const crashing = CRASHING.map((config) => manager.start(config).catch(() => undefined));
  const ready = READY.map(async (config) => {
    let pids: readonly number[] = [];
    const check = async (process: ManagedProcess): Promise<void> => {
      pids = await pidsOf(process);
    };
    const handle = await manager.start({ ...config, readiness: { type: 'check', check } });
    return { handle, process: handle.process, pids };
  });
  const handles = (await Promise.all(crashing)).flatMap((handle) => handle ?? []);
  return [...(await Promise.all(ready)), ...handles.map((handle) => ({ handle, process: handle.process, pids: [] }))];
}

function expectDead(all: readonly Started[]): void {
  for (const { handle, process, pids } of all) {
    expect([handle.name, bearersOf(process.token), pids.filter(isAlive)]).toEqual([handle.name, [], []]);
  }
}

function expectAlive(all: readonly Started[]): void {
  for (const { handle, pids } of all) {
    if (pids.length > 0) expect([handle.name, pids.filter(isAlive)]).toEqual([handle.name, pids]);
  }
}

async function withLedger(run: (directory: string) => Promise<void>): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'poolkit-ledger-'));
  try {
    await run(directory);
    // A killed owner may leave a draft; a record would be a child that nobody looked for.
    expect(readdirSync(join(directory, 'processes')).filter((file) => !file.endsWith('.tmp'))).toEqual([]);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

test('after stop nothing that came from a child is alive, whatever the child is like', () =>
  withLedger(async (directory) => {
    const manager = closeAfter(new LifecycleManager({ ledger: { directory } }));
    const all = await startAll(manager);
    expectAlive(all);
    await Promise.all(manager.list().map(({ id }) => manager.stop(id)));
    expectDead(all);
    expect(new Set(manager.list().map(({ state }) => state))).toEqual(new Set(['stopped']));
    await manager.close();
  }));

test('after kill nothing that came from a child is alive, whatever the child is like', () =>
  withLedger(async (directory) => {
    const manager = closeAfter(new LifecycleManager({ ledger: { directory } }));
    const all = await startAll(manager);
    expectAlive(all);
    await Promise.all(manager.list().map(({ id }) => manager.kill(id)));
    expectDead(all);
    await manager.close();
  }));

test('after restart nothing of the run before is alive, whatever the child is like', () =>
  withLedger(async (directory) => {
    const manager = closeAfter(new LifecycleManager({ ledger: { directory } }));
    const all = await startAll(manager);
    expectAlive(all);
    await Promise.all(
      all.map(async (each) => {
        await manager.restart(each.handle.id).catch(() => undefined);
        expectDead([each]);
        if (each.pids.length > 0) expect(isAlive(each.handle.process.pid)).toBe(true);
      }),
    );
    await manager.close();
    expectDead(all.map(({ handle }) => ({ handle, process: handle.process, pids: [handle.process.pid] })));
  }));

test('after close nothing that came from a child is alive, whatever the child is like', () =>
  withLedger(async (directory) => {
    const manager = closeAfter(new LifecycleManager({ ledger: { directory } }));
    const all = await startAll(manager);
    expectAlive(all);
    const closing = manager.close();
    expect(manager.close()).toBe(closing);
    await closing;
    expectDead(all);
  }));

test('after the owner was killed, the next owner ends everything, whatever the child is like', () =>
  withLedger(async (directory) => {
    const configs = [...READY.map((config) => ({ ...config, readiness: { type: 'line', match: 'up' } })), ...CRASHING];
    const owner = spawn(process.execPath, [OWNER, directory, JSON.stringify(configs)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const owned = await new Promise<{ token: string }[]>((resolve) => {
      let text = '';
      owner.stdout.on('data', (chunk) => {
        text += String(chunk);
        const json = /^owned (.*)\n/m.exec(text)?.[1];
        if (json !== undefined) resolve(JSON.parse(json) as { token: string }[]);
      });
    });
    // The owner and a second one live side by side: neither touches the other's.
    const second = closeAfter(new LifecycleManager({ ledger: { directory } }));
    const own = await second.start(upFrom('ignoresSigterm', { readiness: { type: 'line', match: 'up' } }));
    expect(owned.filter(({ token }) => bearersOf(token).length > 0).length).toBeGreaterThanOrEqual(READY.length);
    owner.kill('SIGKILL');
    await once(owner, 'exit');
    expect(owned.filter(({ token }) => bearersOf(token).length > 0).length).toBeGreaterThan(5);

    const third = closeAfter(new LifecycleManager({ ledger: { directory } }));
    const reports: string[][] = [];
    third.on('swept', ({ swept, failed, rejected }) => {
      expect([failed, rejected]).toEqual([[], []]);
      reports.push(swept.filter(({ pids }) => pids.length > 0).map(({ name }) => name));
    });
    await third.swept();
    expect(owned.filter(({ token }) => bearersOf(token).length > 0)).toEqual([]);
    expect(reports).toHaveLength(1);
    expect(reports[0]).toContain('daemonises');
    expect(reports[0]).toContain('clearsEnvironmentAndDaemonises');
    expect(isAlive(own.process.pid)).toBe(true);
    await Promise.all([second.close(), third.close()]);
  }));
