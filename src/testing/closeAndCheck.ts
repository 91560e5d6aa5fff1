import type { EventEmitter } from 'node:events';
import { getEventListeners } from 'node:events';
import type { Closeable } from '../core/close/CloseScope.js';
import { checkArray, checkFunction, checkMs, checkOptions, withDefaults } from '../core/options.js';
import { failuresOf } from '../core/wait/settleAll.js';
import type { FakeClock } from './FakeClock.js';
import { openLoopDescriptors } from './loopDescriptors.js';
import { childPids, describeProcess, openFds } from './procfs.js';
import { type LedgerEntry, liveTimers, openTimerLedger } from './timerLedger.js';

export interface LeakOptions {
  /**
   * What the code under test was lent: the listeners it leaves there are leaks. `process` is always watched.
   * @defaultValue `process` alone
   */
  readonly lent?: readonly (EventEmitter | AbortSignal)[];
  /** Clocks that must have no timer armed at the end. @defaultValue none */
  readonly clocks?: readonly FakeClock[];
  /**
   * Says of a timer's creation stack that it is not the test's business, for example a test runner's own.
   * @defaultValue every timer counts
   */
  readonly ignoreTimer?: (stack: string) => boolean;
  /**
   * Says of anything else that is left, in the words of the error (`child process 4711 (S (sleeping)): sleep 600`, `file
   * descriptor 20 -> /var/log/app.log`, `1 listener(s) for 'data' on Socket`), that it is to be left alone.
   * @defaultValue everything counts
   */
  readonly ignore?: (leak: string) => boolean;
  /**
   * How long what is on its way out may take, in ms, from 0: the system reports closed sockets and dead children a turn
   * later. Timers get one turn of the event loop only, since they would go by themselves.
   * @defaultValue 1000
   */
  readonly settleMs?: number;
}

/** What lived before: whatever is there beyond it at the end was leaked. */
export interface LeakBaseline {
  readonly options: LeakOptions;
  /** @internal */
  readonly fds: ReadonlyMap<string, string>;
  /** @internal */
  readonly children: ReadonlySet<string>;
  /** @internal */
  readonly listeners: ReadonlyMap<object, ListenerCounts>;
  /** @internal */
  readonly timers: ReadonlySet<LedgerEntry>;
}

type ListenerCounts = ReadonlyMap<string | symbol, number>;

const LEAK_DEFAULTS = Object.freeze({ settleMs: 1_000 });

// Kept as they are now: a test may leave its fakes behind.
const { setTimeout: realSetTimeout, setImmediate: realSetImmediate } = globalThis;
const realNow = performance.now.bind(performance);

/** What is alive now. Take it before the code under test makes anything. From the first one on, timers are recorded. */
export function leakBaseline(given: LeakOptions = {}): LeakBaseline {
  const others = { lent: true, clocks: true, ignoreTimer: true, ignore: true } as const;
  const options = withDefaults('leakBaseline', given, LEAK_DEFAULTS, others);
  checkMs('settleMs', options.settleMs);
  for (const each of checkArray('lent', options.lent ?? [])) {
    checkOptions('lent', each, 'emitters of events, and AbortSignals');
  }
  for (const each of checkArray('clocks', options.clocks ?? [])) checkOptions('clocks', each, 'FakeClocks');
  if (options.ignoreTimer !== undefined) checkFunction('ignoreTimer', options.ignoreTimer);
  if (options.ignore !== undefined) checkFunction('ignore', options.ignore);
  openTimerLedger();
  openLoopDescriptors();
  return {
    options,
    fds: openFds(),
    children: new Set(childPids()),
    listeners: new Map(lentOf(options).map((each) => [each, countListeners(each)])),
    timers: new Set(liveTimers().keys()),
  };
}

/**
 * Closes `parts` in parallel, then throws unless nothing is left that was not there at the baseline: no child process
 * (zombies count), no armed timer (unref'd ones count), no open file descriptor or socket, no listener on what was
 * lent. The error lists each, timers with the stack that armed them. Children and descriptors are read from /proc, so
 * only on Linux.
 */
export async function closeAndCheck(baseline: LeakBaseline, ...parts: readonly Closeable[]): Promise<void> {
  checkOptions(
    'baseline.options',
    checkOptions('baseline', baseline, 'what leakBaseline() gave').options,
    'what leakBaseline() gave',
  );
  const failed = await failuresOf(parts.map(async (part) => part.close()));
  const untilMs = realNow() + (baseline.options.settleMs ?? LEAK_DEFAULTS.settleMs);
  await new Promise((resolve) => realSetImmediate(resolve));
  const timers = timerLeaks(baseline);
  let leaks = otherLeaks(baseline);
  for (let pauseMs = 0; leaks.length > 0 && realNow() < untilMs; pauseMs = Math.min(50, pauseMs + 5)) {
    await new Promise((resolve) => realSetTimeout(resolve, pauseMs));
    leaks = otherLeaks(baseline);
  }
  leaks = [...leaks, ...timers];
  if (leaks.length > 0) failed.push(new Error(`leaked:\n${leaks.map((each) => `- ${each}`).join('\n')}`));
  if (failed.length === 1) throw failed[0];
  if (failed.length > 1) throw new AggregateError(failed, failed.map(String).join('\n'));
}

function timerLeaks({ options, timers: before }: LeakBaseline): string[] {
  const leaks: string[] = [];
  for (const [timer, error] of liveTimers()) {
    if (before.has(timer)) continue;
    // The first lines are the ledger's own.
    const armedAt = (error.stack ?? '').split('\n').slice(3, 11).join('\n');
    if (options.ignoreTimer?.(armedAt) !== true) leaks.push(`timer armed at\n${armedAt}`);
  }
  return leaks;
}

function otherLeaks({ options, fds, children, listeners }: LeakBaseline): string[] {
  const leaks: string[] = [];
  for (const pid of childPids()) if (!children.has(pid)) leaks.push(`child process ${describeProcess(pid)}`);
  for (const [fd, target] of openFds()) if (fds.get(fd) !== target) leaks.push(`file descriptor ${fd} -> ${target}`);
  for (const clock of options.clocks ?? []) {
    if (clock.armedTimers > 0) leaks.push(`${clock.armedTimers} timer(s) armed on a fake clock`);
  }
  for (const each of lentOf(options)) {
    const name = each === process ? 'process' : each.constructor.name;
    for (const [event, count] of countListeners(each)) {
      const more = count - (listeners.get(each)?.get(event) ?? 0);
      if (more > 0) leaks.push(`${more} listener(s) for '${String(event)}' on ${name}`);
    }
  }
  return options.ignore === undefined ? leaks : leaks.filter((each) => options.ignore?.(each) !== true);
}

function lentOf(options: LeakOptions): readonly (EventEmitter | AbortSignal)[] {
  return [process, ...(options.lent ?? [])];
}

function countListeners(lent: EventEmitter | AbortSignal): ListenerCounts {
  if (lent instanceof AbortSignal) return new Map([['abort', getEventListeners(lent, 'abort').length]]);
  return new Map(lent.eventNames().map((name) => [name, lent.listenerCount(name)]));
}
