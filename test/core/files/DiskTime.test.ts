import { afterEach, expect, test, vi } from 'vitest';
import { DiskTime } from '../../../src/core/files/DiskTime.js';
import { OwnFolder } from '../../../src/core/files/OwnFolder.js';
import { silentLogger } from '../../../src/core/logger.js';
import { LifecycleManager } from '../../../src/registry/lifecycle/LifecycleManager.js';
import { FileCache } from '../../../src/toolstore/FileCache.js';
import { tempFolder } from '../../support/tempFolder.js';

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

const never = (): Promise<never> => new Promise(() => undefined);

test('a disk that hangs is waited for 5 s, and refuses at once until it has answered', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  const disk = new DiskTime();
  let answer = (): void => undefined;
  const hung = disk.within(() => new Promise<void>((resolve) => (answer = resolve)));
  const told = expect(hung).rejects.toThrow('the disk has not answered within 5000 ms');
  vi.advanceTimersByTime(4_999);
  await expect(disk.within(async () => 'meanwhile')).resolves.toBe('meanwhile');
  vi.advanceTimersByTime(1);
  await told;
  await expect(disk.within(async () => 'behind')).rejects.toThrow('the disk hangs');
  answer();
  await new Promise((resolve) => setImmediate(resolve));
  await expect(disk.within(async () => 'again')).resolves.toBe('again');
});

test('a cache whose disk hangs is one in memory, and closes', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  const cache = new FileCache({ directory: tempFolder(), logger: silentLogger });
  vi.spyOn(OwnFolder.prototype, 'within').mockImplementation(never);
  const cold = cache.get('cold');
  await new Promise((resolve) => setImmediate(resolve));
  vi.advanceTimersByTime(5_000);
  expect(await cold).toBeUndefined();
  await cache.set('warm', 1);
  expect(await cache.get('warm')).toBe(1);
  expect(await cache.getOrLoad('other', async () => 2)).toBe(2);
  expect(cache.stats.degraded).toMatch(/disk/);
  await cache.close();
});

test('a ledger whose disk hangs keeps neither a start nor a close waiting for longer', async () => {
  const manager = new LifecycleManager({ ledger: { directory: tempFolder() } });
  const failures: unknown[] = [];
  manager.on('ledgerFailed', ({ error }) => failures.push(error));
  const program = { name: 's', command: process.execPath, args: ['-e', 'process.stdin.resume()'] };
  await manager.start(program);
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  const within = vi.spyOn(OwnFolder.prototype, 'within').mockImplementation(never);
  const closed = manager.close();
  await expect.poll(() => within.mock.calls.length).toBe(1);
  vi.advanceTimersByTime(5_000);
  await closed;
  expect(String(failures)).toContain('the disk has not answered');
});
