import { ChildProcess } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LeakBaseline } from '../../src/testing/closeAndCheck.js';
import { childPids } from '../../src/testing/procfs.js';
import { liveTimers } from '../../src/testing/timerLedger.js';

const QUIET_LOOKS = 3;
const MAX_LOOKS = 100;

/** Sockets, servers and the like that hold the event loop. */
export function activeHandles(): ReadonlySet<unknown> {
  const { _getActiveHandles } = process as unknown as { _getActiveHandles(): unknown[] };
  return new Set(_getActiveHandles.call(process));
}

/**
 * Ends timers, sockets, servers and children that are there beyond the baseline, until no new ones come: a client that nobody closed
 * connects again for ever, and each later test of the process would be told of its timers.
 */
export async function endLeft(baseline: LeakBaseline, handles: ReadonlySet<unknown>): Promise<void> {
  for (let look = 0, quiet = 0; look < MAX_LOOKS && quiet < QUIET_LOOKS; look++) {
    quiet = endOnce(baseline, handles) ? 0 : quiet + 1;
    await sleep(5);
  }
}

/** Whether there was any. */
function endOnce({ options, timers, children }: LeakBaseline, handles: ReadonlySet<unknown>): boolean {
  let ended = false;
  for (const [timer, { stack = '' }] of liveTimers()) {
    if (timers.has(timer) || options.ignoreTimer?.(stack) === true) continue;
    clearTimeout(timer as unknown as NodeJS.Timeout);
    ended = true;
  }
  for (const pid of childPids()) {
    if (children.has(pid)) continue;
    process.kill(Number(pid), 'SIGKILL');
    ended = true;
  }
  for (const handle of activeHandles()) {
    if (handles.has(handle) || handle instanceof ChildProcess) continue;
    if (handle === process.stdin || handle === process.stdout || handle === process.stderr) continue;
    const { destroy, close } = handle as { readonly destroy?: () => void; readonly close?: () => void };
    (destroy ?? close)?.call(handle);
    ended = true;
  }
  return ended;
}
