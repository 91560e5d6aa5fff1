import { monitorEventLoopDelay } from 'node:perf_hooks';
import { describe, expect, test, vi } from 'vitest';
import { Fleet, fullestWindow, sleep, systemUs, useOf } from '../support/fleet.js';
import { HAVE_REDIS, TestRedis } from '../support/redis.js';

// Four processes start here, and the machine may be busy.
vi.setConfig({ testTimeout: 120_000 });

const WINDOW_MS = 1_000;
const MAX = 100;
const SKEW_MS = 200;

/** How late this machine runs what is due: a hundredth of all timers is later, in ms. */
const LOOK_MS = 10;
const lateness = monitorEventLoopDelay({ resolution: LOOK_MS });
const lateMs = (): number => Math.max(0, lateness.percentile(99) / 1e6 - LOOK_MS);

/** Of each window a tenth may be lost, and what two turns of processes take: one that asks the store, and one that hears its answer. */
const fairLossMs = (): number => WINDOW_MS / 9 + 2 * lateMs();

describe.skipIf(!HAVE_REDIS)('a fleet of four processes on one real Redis', () => {
  test('never exceeds the limit in any window, uses nine tenths of it, and inherits the share of one that is killed', async () => {
    await using redis = await TestRedis.start();
    await using fleet = new Fleet();
    const limiter = {
      id: 'fleet',
      maxRequests: MAX,
      windowMs: WINDOW_MS,
      maxClockSkewMs: SKEW_MS,
      onStoreLost: 'fail-closed',
    };
    const members = [40, 8, 4, 2].map(
      (callers, i) => ({ callers, ioredis: i % 2 === 0 ? 'ioredis' : 'ioredis6' }) as const,
    );
    await fleet.start(members.map((each) => ({ ...each, port: redis.port, limiter })));
    /** Resolves when so much was used since then: where the machine stood still, it takes longer until that is so on the average. */
    const used = async (fromUs: number): Promise<void> => {
      const beyondMs = (): number => {
        const grants = fleet.grants.filter((each) => each >= fromUs);
        return WINDOW_MS / useOf(grants, MAX, WINDOW_MS * 1_000) - WINDOW_MS - fairLossMs();
      };
      await expect.poll(beyondMs, { interval: WINDOW_MS / 4, timeout: 30_000 }).toBeLessThanOrEqual(0);
    };

    lateness.enable();
    const startUs = systemUs();
    fleet.go();
    await sleep(2.5 * WINDOW_MS);
    await used(startUs);
    for (let i = 0; i < members.length; i++) expect(fleet.grantsOf(i).length).toBeGreaterThan(5);
    await fleet.kill(0);
    expect(fleet.grantsOf(0).length).toBeGreaterThan(MAX / 4);
    // What it held stays charged for a window, a permit's life and the allowance for clocks; the next heartbeat notices.
    const inheritedUs = systemUs() + (1.1 * WINDOW_MS + SKEW_MS + WINDOW_MS) * 1_000;
    await sleep((inheritedUs - systemUs()) / 1_000 + 2 * WINDOW_MS);
    await used(inheritedUs);
    lateness.disable();
    await fleet.stop();

    expect(fleet.lost).toEqual([]);
    expect(fullestWindow(fleet.grants, WINDOW_MS * 1_000)).toBeLessThanOrEqual(MAX);
  });
});
