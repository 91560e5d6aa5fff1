import { readFileSync, statSync, writeFileSync } from 'node:fs';
import * as promises from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { readConfigFile } from '../../src/registry/config/configFile.js';
import { ServerRegistry } from '../../src/registry/config/ServerRegistry.js';
import { LifecycleManager } from '../../src/registry/lifecycle/LifecycleManager.js';
import { ProcessLedger } from '../../src/registry/process/ProcessLedger.js';
import { FaultyDisk } from '../../src/testing/disk/FaultyDisk.js';
import { FAULT_NAMES, FAULTS } from '../../src/testing/faults/faultTable.js';
import type { FaultRule } from '../../src/testing/faults/rule/FaultRule.js';
import { closeAfter } from '../support/closeAfter.js';
import { tempFolder } from '../support/tempFolder.js';
import { CacheHouse } from '../toolstore/fixtureCache.js';

const { open } = promises;

function disk(folder: string, ...rules: FaultRule[]): FaultyDisk {
  const faulty = new FaultyDisk({ folder, plan: { rules } });
  onTestFinished(() => faulty[Symbol.dispose]());
  return faulty;
}

test('every fault of disks is tried here, and each is seen by whoever uses the file', async () => {
  const folder = tempFolder();
  const file = join(folder, 'a');
  writeFileSync(file, '12345678');
  const seen: Record<string, unknown> = {};
  const tried = async (fault: FaultRule, work: () => Promise<unknown>): Promise<void> => {
    const faulty = disk(folder, fault);
    seen[fault.fault] = await work().catch((error: NodeJS.ErrnoException) => [error.code, error.syscall, error.path]);
    expect(faulty.events).toMatchObject([{ type: 'fault', fault: fault.fault }]);
    faulty[Symbol.dispose]();
  };
  await tried({ fault: 'diskFull' }, () => promises.writeFile(file, 'new'));
  await tried({ fault: 'readOnly' }, () => promises.rm(file));
  await tried({ fault: 'ioError', method: 'disk/read' }, () => promises.open(file));
  const startMs = performance.now();
  await tried({ fault: 'slowDisk', delayMs: 30 }, () => promises.readFile(file, 'utf8'));
  expect(performance.now() - startMs).toBeGreaterThan(28);
  await tried({ fault: 'tornWrite' }, () => promises.rename(file, join(folder, 'b')));
  expect(seen).toEqual({
    diskFull: ['ENOSPC', 'writeFile', file],
    readOnly: ['EROFS', 'rm', file],
    ioError: ['EIO', 'open', file],
    slowDisk: '12345678',
    tornWrite: undefined,
  });
  expect(readFileSync(join(folder, 'b'), 'utf8')).toBe('1234');
  expect(Object.keys(seen).sort()).toEqual(FAULT_NAMES.filter((name) => FAULTS[name].wires.includes('disk')).sort());
});

test('only files of its folder, by their paths, in every style of call, and while it is not disposed', async () => {
  const [folder, other] = [tempFolder(), tempFolder()];
  using faulty = disk(folder, { fault: 'diskFull', uri: '*.json' });
  writeFileSync(join(other, 'a.json'), 'a');
  writeFileSync(join(folder, 'a.txt'), 'a');
  expect(() => writeFileSync(join(folder, 'a.json'), 'a')).toThrow('ENOSPC: no space left on device');
  await expect(promises.open(join(folder, 'b.json'), 'w')).rejects.toThrow('ENOSPC');
  expect(faulty.plan.counts).toEqual({ diskFull: 2 });
  faulty[Symbol.dispose]();
  writeFileSync(join(folder, 'a.json'), 'a');
  expect(promises.open).toBe(open);
});

test('FileCache on a full disk works in memory and heals; a torn entry is set aside', async () => {
  const house = new CacheHouse();
  const cache = house.open({ diskRetryMs: 1_000 });
  await cache.set('a', 1);
  const faulty = disk(house.directory);
  const full = faulty.plan.add({ fault: 'diskFull' });
  await cache.set('b', 2);
  expect([await cache.get('a'), await cache.get('b')]).toEqual([1, 2]);
  expect(cache.stats.degraded).toContain('ENOSPC');
  full.disable();
  await expect
    .poll(async () => {
      await house.clock.advance(1_000);
      return cache.stats.degraded;
    })
    .toBeUndefined();
  expect(await house.open().get('b')).toBe(2);
  faulty.plan.add({ fault: 'tornWrite', times: 1 });
  await cache.set('c', 'x'.repeat(1_000));
  expect(faulty.plan.counts).toMatchObject({ tornWrite: 1 });
  const next = house.open();
  expect([await next.get('c'), next.stats.quarantined]).toEqual([undefined, 1]);
  expect(await next.get('b')).toBe(2);
});

test('the ledger on a full disk: processes start, and a failed ledger is told; a torn record is rejected', async () => {
  const directory = tempFolder();
  const faulty = disk(directory);
  const manager = closeAfter(new LifecycleManager({ ledger: { directory } }));
  await manager.swept();
  const failures: unknown[] = [];
  manager.on('ledgerFailed', ({ error }) => failures.push((error as NodeJS.ErrnoException).code));
  const full = faulty.plan.add({ fault: 'diskFull' });
  const { id } = await manager.start({ name: 'a', command: 'sleep', args: ['60'] });
  expect([manager.status(id).state, failures[0]]).toEqual(['ready', 'ENOSPC']);
  full.disable();
  await manager.close();
  const ledger = await ProcessLedger.open({ directory });
  faulty.plan.add({ fault: 'tornWrite' });
  await ledger.intend('b', { command: 'true' });
  expect(await ledger.read()).toMatchObject({ orphans: [], rejected: [{ why: expect.any(String) }] });
});

test('a config that cannot be saved is an error, and the old file stays; a torn one says its place', async () => {
  const folder = tempFolder();
  const file = join(folder, 'mcp.json');
  const registry = closeAfter(new ServerRegistry());
  registry.add({ name: 'a', transport: 'stdio', command: 'true' });
  await registry.save(file);
  const before = readFileSync(file, 'utf8');
  registry.add({ name: 'b', transport: 'stdio', command: 'true' });
  const faulty = disk(folder, { fault: 'diskFull', times: 1 }, { fault: 'tornWrite' });
  await expect(registry.save(file)).rejects.toThrow('ENOSPC');
  expect(readFileSync(file, 'utf8')).toBe(before);
  await registry.save(file);
  faulty[Symbol.dispose]();
  expect(statSync(file).size).toBeGreaterThan(0);
  const { servers, problems } = await readConfigFile(file);
  expect([servers, problems.map(({ message }) => message)]).toEqual([[], [expect.stringContaining('not JSON')]]);
});
