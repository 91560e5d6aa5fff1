import { randomUUID } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { closeAndCheck, leakBaseline } from '../../src/testing/closeAndCheck.js';
import { check } from '../../src/testing/history/check.js';
import { History } from '../../src/testing/history/History.js';
import type { Verdict } from '../../src/testing/history/Verdict.js';
import type { Rule } from '../../src/testing/history/Violation.js';
import { act, restore } from './acts.js';
import { Load } from './Load.js';
import type { ChaosRule } from './plan.js';
import { bearersOf } from './processes.js';
import { Random } from './random.js';
import { Strain } from './Strain.js';
import { World } from './World.js';

export interface RoundOptions {
  readonly seed: number;
  readonly rules: readonly ChaosRule[];
  readonly stormMs: number;
  readonly workers: number;
}

export interface RoundResult {
  readonly verdict: Verdict;
  readonly history: History;
  readonly tookMs: number;
  /** What the machine withheld, in ms; beyond a bound nothing is asked that takes a machine which is not busy. */
  readonly withheldMs: number;
  readonly strained: boolean;
}

/** How long every server may take to answer again once the storm is over. */
const SETTLE_MS = 30_000;
const QUIET_CALLS = 24;

/** Timers that are not ours: of undici's one clock, and of the store's client, which stop by themselves. */
const NOT_OURS = /node_modules\/undici\/lib\/util\/timers|node_modules\/ioredis|node:internal\/deps\/undici/;

/** In every other round nothing idles out: what is started anew serves those who wait, and would hide one that was forgotten. */
const LONG_MS = 120_000;

/** Rules that hold where the machine has time for this process. */
const BUSY: readonly Rule[] = ['expected-answer', 'late'];

/** Longer than any call, any act and any close may take, in ms. */
const CALLS_MS = 65_000;
const ACTS_MS = 60_000;
const CLOSE_MS = 30_000;

/** True when it ended within `ms`. */
async function inTime(work: Promise<unknown>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(resolve, ms, false);
  });
  try {
    return await Promise.race([work.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}

/** One world from its making to its end: a storm, calm calls that nothing could fail, the close, the verdict. */
export async function runRound({ seed, rules, stormMs, workers }: RoundOptions): Promise<RoundResult> {
  const startMs = performance.now();
  const folder = await mkdtemp(join(tmpdir(), 'poolkit-chaos-'));
  const mark = randomUUID();
  const history = new History();
  const unhandled = (error: unknown): void => {
    const what = error instanceof Error ? (error.stack ?? String(error)) : String(error);
    history.add({ type: 'alive', what: `unhandled: ${what.slice(0, 3_000)}` });
  };
  process.on('unhandledRejection', unhandled);
  process.on('uncaughtException', unhandled);
  const baseline = leakBaseline({ settleMs: 3_000, ignoreTimer: (stack) => NOT_OURS.test(stack) });
  const strain = new Strain(history);
  try {
    const world = await World.open({ history, folder, mark, rules, ...(seed % 2 === 1 && { idleMs: LONG_MS }) });
    const random = new Random(seed);
    const load = new Load(world, random.fork(1), rules);
    history.add({ type: 'note', text: `the storm begins, seed ${seed}` });
    const storm = load.run(workers);
    const stormEnds = new Promise((resolve) => setTimeout(resolve, stormMs));
    await inTime(Promise.all([act(world, load, rules), stormEnds]), ACTS_MS);
    load.stop();
    // A call that never settles must not keep the verdict waiting: it is what is convicted.
    if (await inTime(storm, CALLS_MS)) {
      await restore(world);
      const calls = new Load(world, random.fork(2), []);
      await inTime(calls.settle(performance.now() + SETTLE_MS), CALLS_MS);
      history.add({ type: 'note', text: 'the storm is over' });
      world.calm = true;
      await inTime(calls.quiet(QUIET_CALLS), CALLS_MS);
      world.calm = false;
    }
    if (!(await inTime(world.close(), CLOSE_MS))) history.add({ type: 'alive', what: 'a close that did not end' });
    strain.stop();
    for (const { pid, what } of await bearersOf(mark)) {
      history.add({ type: 'alive', what });
      process.kill(pid, 'SIGKILL');
    }
    await closeAndCheck(baseline).catch((error: unknown) => {
      history.add({ type: 'alive', what: String(error).slice(0, 1_000) });
    });
    history.end();
    history.merge(await readFile(world.events, 'utf8'));
    const except = strain.isTooMuch ? BUSY : [];
    const verdict = check(history, { cancelSlackMs: 1_000, except, label: `seed ${seed}` });
    return {
      verdict,
      history,
      tookMs: performance.now() - startMs,
      withheldMs: strain.withheldMs,
      strained: strain.isTooMuch,
    };
  } finally {
    strain.stop();
    process.off('unhandledRejection', unhandled);
    process.off('uncaughtException', unhandled);
    await rm(folder, { recursive: true, force: true });
  }
}
