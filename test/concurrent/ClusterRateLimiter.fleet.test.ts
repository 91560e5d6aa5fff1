import { describe, expect, test } from 'vitest';
import { countBetween, Fleet, fullestWindow, sleep, systemUs } from '../support/fleet.js';
import { HAVE_REDIS, TestRedis } from '../support/redis.js';

const WINDOW_MS = 600;
const MAX = 120;

/** Windows of a real time that passes: a fleet is watched for so long. */
describe.skipIf(!HAVE_REDIS)('a fleet of four processes on one real Redis', () => {
  test('never exceeds the limit in any window, and uses nine tenths of it and more under demand', async () => {
    await using redis = await TestRedis.start();
    await using fleet = new Fleet();
    const limiter = { id: 'fleet', maxRequests: MAX, windowMs: WINDOW_MS };
    await fleet.start(
      [40, 4, 4, 1].map((callers, i) => ({
        port: redis.port,
        ioredis: i % 2 === 0 ? 'ioredis' : 'ioredis6',
        callers,
        limiter,
      })),
    );
    const startUs = systemUs();
    fleet.go();
    await sleep(5 * WINDOW_MS);
    const endUs = systemUs();
    await fleet.stop();

    expect(fullestWindow(fleet.grants, WINDOW_MS * 1_000)).toBeLessThanOrEqual(MAX);
    const could = (MAX * (endUs - startUs)) / (WINDOW_MS * 1_000);
    expect(countBetween(fleet.grants, startUs, endUs)).toBeGreaterThanOrEqual(0.9 * could);
    for (let i = 0; i < 4; i++) expect(fleet.grantsOf(i).length).toBeGreaterThan(5);
  });

  test('a process that is killed leaves its share to the others, and the limit holds all the while', async () => {
    await using redis = await TestRedis.start();
    await using fleet = new Fleet();
    const limiter = { id: 'fleet', maxRequests: MAX, windowMs: WINDOW_MS, maxClockSkewMs: 200 };
    // The first takes nearly all, since the others ask for one at a time.
    await fleet.start(
      [60, 20, 20, 20].map((callers) => ({ port: redis.port, ioredis: 'ioredis' as const, callers, limiter })),
    );
    fleet.go();
    await sleep(1.5 * WINDOW_MS);
    await fleet.kill(0);
    const killedUs = systemUs();
    expect(fleet.grantsOf(0).length).toBeGreaterThan(MAX / 8);
    // What a dead process holds is charged for a window, the life of a permit and the allowance for clocks; then a
    // heartbeat notices.
    const freedUs = killedUs + (WINDOW_MS * 1.1 + 200 + WINDOW_MS) * 1_000;
    await sleep((freedUs - systemUs()) / 1_000 + 2 * WINDOW_MS);
    const endUs = systemUs();
    await fleet.stop();

    expect(fullestWindow(fleet.grants, WINDOW_MS * 1_000)).toBeLessThanOrEqual(MAX);
    const could = (MAX * (endUs - freedUs)) / (WINDOW_MS * 1_000);
    expect(countBetween(fleet.grants, freedUs, endUs)).toBeGreaterThanOrEqual(0.9 * could);
  });
});
