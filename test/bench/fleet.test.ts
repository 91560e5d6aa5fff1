import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { runFleet } from '../../bench/fleet/runFleet.js';
import { have } from '../support/have.js';
import { HAVE_REDIS } from '../support/redis.js';
import { tempFolder } from '../support/tempFolder.js';

// Processes start and end here, and the machine may be busy.
vi.setConfig({ testTimeout: 180_000 });

/** The processes that nginx works with. */
function nginxWorkers(): string[] {
  return readdirSync('/proc').filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith('nginx: worker');
    } catch {
      // It has ended meanwhile.
      return false;
    }
  });
}

const [HAVE_NGINX, HAVE_HAPROXY] = [have('nginx'), have('haproxy')];

test.skipIf(!HAVE_NGINX || !HAVE_REDIS)(
  'behind nginx a rolling restart of all replicas fails no call, a kill only those in flight there, which say so; sessions and the limit hold',
  async () => {
    const limit = { maxRequests: 30, windowMs: 500 };
    const before = nginxWorkers();
    const report = await runFleet({ rounds: 1, clientsOfEach: 1, calmMs: 200, delayMs: 400, refusingMs: 300, limit });
    expect(report.failedInRestarts).toEqual([]);
    expect(report.failedOtherwise).toEqual([]);
    for (const { error } of report.failedByKill) expect(error).toContain('ERR_OUTCOME_UNKNOWN');
    expect([report.sessionsLost, report.badExits]).toEqual([[], []]);
    expect(report.fullestWindow).toBeLessThanOrEqual(limit.maxRequests);
    expect(report.permits).toBeGreaterThanOrEqual(report.calls - report.failedByKill.length);
    expect(report.calls).toBeGreaterThan(30);
    // They are no children of ours: a killed nginx would leave them behind.
    expect(nginxWorkers().filter((pid) => !before.includes(pid))).toEqual([]);
  },
);

test.skipIf(!HAVE_HAPROXY)('the file for HAProxy is one', () => {
  const shipped = readFileSync(join(import.meta.dirname, '../../deploy/haproxy.cfg'), 'utf8');
  const file = join(tempFolder(), 'haproxy.cfg');
  // Its replicas have names that only its network knows.
  writeFileSync(file, shipped.replace(/ mcp-\d:3399/g, ' 127.0.0.1:3399').replaceAll('\n  #stick', '\n  stick'));
  const { status, stderr } = spawnSync('haproxy', ['-c', '-f', file], { encoding: 'utf8' });
  expect(stderr).not.toMatch(/ALERT|WARNING/);
  expect(status).toBe(0);
});
