import { expect, test } from 'vitest';
import type { ServerHandle } from '../../../src/registry/lifecycle/LifecycleManager.js';
import { LifecycleManager } from '../../../src/registry/lifecycle/LifecycleManager.js';
import { UsageMeter } from '../../../src/registry/lifecycle/usage.js';
import type { ProcessRow } from '../../../src/registry/process/processTable.js';
import { closeAfter } from '../../support/closeAfter.js';
import { pidsOf, unruly } from '../../support/processes.js';

const MIB = 2 ** 20;

/** An unruly child inside a shell: what counts is the whole group. */
async function startWrapped(manager: LifecycleManager, kind: string, arg = ''): Promise<ServerHandle> {
  const { command, args } = unruly(kind);
  return manager.start({
    id: kind,
    name: kind,
    command: '/bin/sh',
    args: ['-c', `${command} ${args.join(' ')} ${arg}; true`],
    readiness: { type: 'check', check: pidsOf },
  });
}

test('resident memory is that of the whole group: 100 MiB allocated by a grandchild are seen', async () => {
  const manager = closeAfter(new LifecycleManager({ ledger: false }));
  const small = await startWrapped(manager, 'wellBehaved');
  const large = await startWrapped(manager, 'allocates', '100');
  expect(small.status().usage).toBeUndefined();
  await manager.refresh();
  const [smallBytes, largeBytes] = [small.status().usage?.residentBytes, large.status().usage?.residentBytes];
  expect(small.status().usage?.processes).toBe(2);
  expect(smallBytes).toBeGreaterThan(10 * MIB);
  expect((largeBytes ?? 0) - (smallBytes ?? 0)).toBeGreaterThan(85 * MIB);
  expect((largeBytes ?? 0) - (smallBytes ?? 0)).toBeLessThan(200 * MIB);
  await manager.kill('wellBehaved');
  expect(small.status().usage).toBeUndefined();
});

test('CPU is that of the whole group: a spinning grandchild is seen, an idle one is not', async () => {
  const manager = closeAfter(new LifecycleManager({ ledger: false }));
  const idle = await startWrapped(manager, 'wellBehaved');
  const spinning = await startWrapped(manager, 'spins');
  await manager.refresh();
  // On a busy machine the spinner gets little: ask until it has had its turn.
  await expect
    .poll(
      async () => {
        await manager.refresh();
        return (spinning.status().usage?.cpuPercent ?? 0) - (idle.status().usage?.cpuPercent ?? 0);
      },
      { interval: 300, timeout: 15_000 },
    )
    .toBeGreaterThan(15);
  expect(spinning.status().usage?.cpuPercent).toBeLessThan(300);
});

test('the CPU of a member that ended between two samples is not lost, and not counted twice', () => {
  const row = (pid: number, cpuMs: number): ProcessRow => ({
    pid,
    ppid: 1,
    pgid: 7,
    session: 7,
    state: 'S',
    alive: true,
    startTime: 1,
    cpuMs,
    residentBytes: 10,
  });
  const meter = new UsageMeter(0);
  expect(meter.sample([row(7, 100), row(8, 400)], 1_000, 0)).toMatchObject({ cpuPercent: 50, residentBytes: 20 });
  // 8 used 100 ms more, ended, and its parent waited for it.
  expect(meter.sample([row(7, 600)], 2_000, 0)).toMatchObject({ cpuPercent: 10, processes: 1 });
  // Too soon for a rate: the clock ticks are coarser.
  expect(meter.sample([row(7, 700)], 2_001, 0).cpuPercent).toBe(10);
  expect(meter.sample([row(7, 700)], 3_000, 0).cpuPercent).toBe(10);
  expect(meter.sample([row(7, 0)], 4_000, 0).cpuPercent).toBe(0);
});
