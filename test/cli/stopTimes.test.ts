import { expect, test } from 'vitest';
import { ANSWER_MS, stopBudgetMs } from '../../src/cli/stopTimes.js';
import { CLOSE_DEFAULTS } from '../../src/core/close/CloseScope.js';
import { MANAGED_PROCESS_DEFAULTS } from '../../src/registry/process/ManagedProcess.js';
import { SHUTDOWN_DEFAULTS, ShutdownPlan } from '../../src/shutdown/index.js';
import { FakeClock } from '../../src/testing/FakeClock.js';

const { stdinGraceMs, termGraceMs, killProofMs } = MANAGED_PROCESS_DEFAULTS;
const SERVERS_MS = CLOSE_DEFAULTS.graceMs + stdinGraceMs + termGraceMs + killProofMs;
const TIMES = [0, 1_000, 10_000, 28_000, 60_000, 600_000];
const ALL = TIMES.flatMap((graceMs) => TIMES.map((propagationDelayMs) => ({ graceMs, propagationDelayMs })));

test('with the defaults it is the total of a plan, which the manifest counts on', () => {
  expect(stopBudgetMs({ graceMs: 10_000, propagationDelayMs: 0 })).toBe(SHUTDOWN_DEFAULTS.totalMs);
});

test('whatever the grace and the delay, the sum of what may come after them fits in', () => {
  for (const times of ALL) {
    const sum = times.propagationDelayMs + times.graceMs + ANSWER_MS + SERVERS_MS;
    expect(stopBudgetMs(times)).toBeGreaterThanOrEqual(sum + 2_000);
  }
});

test('a plan of that budget gives calls their whole grace, and servers their whole time after it', async () => {
  for (const times of ALL) {
    const clock = new FakeClock();
    const { graceMs, propagationDelayMs } = times;
    const plan = new ShutdownPlan({ clock, totalMs: stopBudgetMs(times), propagationDelayMs });
    const given: number[] = [];
    const hangs = {
      close: (options?: { graceMs?: number }) => {
        given.push(options?.graceMs ?? -1);
        return new Promise<void>(() => undefined);
      },
    };
    plan.add('gateway', hangs, { phase: 'drain', graceMs, timeoutMs: graceMs + ANSWER_MS });
    plan.add('servers', ({ timeoutMs }) => void given.push(timeoutMs), { phase: 'close' });
    plan.add('processes', () => undefined, { phase: 'close', after: 'servers' });
    plan.add('tool lists', () => undefined, { phase: 'release' });
    const stopped = plan.shutdown();
    await clock.advance(stopBudgetMs(times));
    await stopped;
    const [grace, , servers = 0] = given;
    expect(grace, JSON.stringify(times)).toBe(graceMs);
    expect(servers, JSON.stringify(times)).toBeGreaterThanOrEqual(SERVERS_MS);
  }
});
