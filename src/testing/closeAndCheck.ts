import type { EventEmitter } from 'node:events';
import { getEventListeners } from 'node:events';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import type { Closeable } from '../core/CloseScope.js';
import type { FakeClock } from './FakeClock.js';

export interface LeakOptions {
  /** What the code under test was lent: the listeners it leaves there are leaks. `process` is always watched. */
  readonly lent?: readonly (EventEmitter | AbortSignal)[];
  /** Clocks that must have no timer armed at the end. */
  readonly clocks?: readonly FakeClock[];
  /** Says of a timer's creation stack that it is not the test's business, for example a test runner's own. */
  readonly ignoreTimer?: (stack: string) => boolean;
  /**
   * How long what is on its way out may take, in ms: the system reports closed sockets and dead children a turn later.
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
  readonly listeners: ReadonlyMap<object, number>;
  /** @internal */
  readonly timers: ReadonlySet<object>;
}

interface NodeTimer {
  /** Node's own mark: true once fired or cleared. */
  readonly _destroyed: boolean;
  hasRef(): boolean;
}

const LEAK_DEFAULTS = Object.freeze({ settleMs: 1_000 });

/** Every timer armed since the first baseline, with the stack that armed it. */
const timers = new Map<NodeTimer, string>();
let tracking = false;

/** What is alive now. Take it before the code under test makes anything. From the first one on, timers are recorded. */
export function leakBaseline(options: LeakOptions = {}): LeakBaseline {
  trackTimers();
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
  const results = await Promise.allSettled(parts.map((part) => part.close()));
  const failed = results.filter((each) => each.status === 'rejected').map((each) => each.reason as unknown);
  const untilMs = performance.now() + (baseline.options.settleMs ?? LEAK_DEFAULTS.settleMs);
  let leaks = findLeaks(baseline);
  for (let pauseMs = 0; leaks.length > 0 && performance.now() < untilMs; pauseMs = Math.min(50, pauseMs + 5)) {
    await new Promise((resolve) => realSetTimeout(resolve, pauseMs));
    leaks = findLeaks(baseline);
  }
  if (leaks.length > 0) failed.push(new Error(`leaked:\n${leaks.map((each) => `- ${each}`).join('\n')}`));
  if (failed.length === 1) throw failed[0];
  if (failed.length > 1) throw new AggregateError(failed, failed.map(String).join('\n'));
}

function findLeaks({ options, fds, children, listeners, timers: before }: LeakBaseline): string[] {
  const leaks: string[] = [];
  for (const pid of childPids()) if (!children.has(pid)) leaks.push(`child process ${describeProcess(pid)}`);
  for (const [fd, target] of openFds()) if (fds.get(fd) !== target) leaks.push(`file descriptor ${fd} -> ${target}`);
  for (const [timer, stack] of liveTimers()) {
    if (!before.has(timer) && !options.ignoreTimer?.(stack)) leaks.push(`timer armed at\n${stack}`);
  }
  for (const clock of options.clocks ?? []) {
    if (clock.armedTimers > 0) leaks.push(`${clock.armedTimers} timer(s) armed on a fake clock`);
  }
  for (const each of lentOf(options)) {
    const more = countListeners(each) - (listeners.get(each) ?? 0);
    if (more > 0) leaks.push(`${more} listener(s) on ${each === process ? 'process' : each.constructor.name}`);
  }
  return leaks;
}

function lentOf(options: LeakOptions): readonly (EventEmitter | AbortSignal)[] {
  return [process, ...(options.lent ?? [])];
}

function countListeners(lent: EventEmitter | AbortSignal): number {
  if (lent instanceof AbortSignal) return getEventListeners(lent, 'abort').length;
  return lent.eventNames().reduce((count, name) => count + lent.listenerCount(name), 0);
}

function openFds(): Map<string, string> {
  const fds = new Map<string, string>();
  for (const fd of list('/proc/self/fd')) {
    try {
      const target = readlinkSync(`/proc/self/fd/${fd}`);
      // The folder being read is itself an open descriptor.
      if (!target.startsWith('/proc/')) fds.set(fd, target);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
  return fds;
}

function childPids(): string[] {
  return list('/proc/self/task').flatMap((task) => read(`/proc/self/task/${task}/children`).split(' ').filter(Boolean));
}

function describeProcess(pid: string): string {
  const state = /^State:\s+(.*)$/m.exec(read(`/proc/${pid}/status`))?.[1] ?? 'gone';
  return `${pid} (${state}): ${read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ')}`;
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if (isGone(error)) return [];
    throw error;
  }
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (isGone(error)) return '';
    throw error;
  }
}

function isGone(error: unknown): boolean {
  return ['ENOENT', 'ESRCH', 'EACCES'].includes((error as NodeJS.ErrnoException).code ?? '');
}

const realSetTimeout = globalThis.setTimeout;

/** Records every `setTimeout` and `setInterval` of this process from now on. */
function trackTimers(): void {
  if (tracking) return;
  tracking = true;
  globalThis.setTimeout = recording(globalThis.setTimeout);
  globalThis.setInterval = recording(globalThis.setInterval);
}

function recording<F extends typeof setTimeout | typeof setInterval>(original: F): F {
  return new Proxy(original, {
    apply(target, self, args: unknown[]) {
      const timer = Reflect.apply(target as (...args: unknown[]) => unknown, self, args) as NodeTimer;
      timers.set(timer, new Error('').stack?.split('\n').slice(2, 8).join('\n') ?? '');
      if (timers.size % 1_024 === 0) liveTimers();
      return timer;
    },
  });
}

/** Forgets the timers that have fired or were cleared, and gives the rest. */
function liveTimers(): ReadonlyMap<NodeTimer, string> {
  for (const timer of timers.keys()) if (timer._destroyed) timers.delete(timer);
  return timers;
}
