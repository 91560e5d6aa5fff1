import { once } from 'node:events';
import { writeSync } from 'node:fs';
import { isMainThread, Worker, workerData } from 'node:worker_threads';
import { childPids } from '../../src/testing/procfs.js';

/** Longer than any machine is too busy for one turn of an event loop, in ms. */
const STALL_MS = 20_000;
const BEAT_MS = 500;

interface Watched {
  readonly beats: SharedArrayBuffer;
  readonly pid: number;
}

/**
 * From now on a process whose event loop does not turn any more is ended, with its children, by a thread that does: a loop
 * without end would keep every verdict waiting. `seed` is of the round that runs.
 */
export async function watchLoop(seed: () => number): Promise<void> {
  const beats = new SharedArrayBuffer(8);
  const view = new Int32Array(beats);
  const data: Watched = { beats, pid: process.pid };
  const thread = new Worker(new URL(import.meta.url), { workerData: data });
  await once(thread, 'online');
  thread.unref();
  setInterval(() => {
    Atomics.add(view, 0, 1);
    Atomics.store(view, 1, seed() | 0);
  }, BEAT_MS).unref();
}

function watch({ beats, pid }: Watched): void {
  const view = new Int32Array(beats);
  let seen = -1;
  let silentMs = 0;
  setInterval(() => {
    const beat = Atomics.load(view, 0);
    // By this thread's own beats: a machine that stood still withheld that time from both.
    silentMs = beat === seen ? silentMs + BEAT_MS : 0;
    seen = beat;
    if (silentMs > STALL_MS) {
      const seed = Atomics.load(view, 1) >>> 0;
      writeSync(
        1,
        `\nGUILTY (seed ${seed}) of 1 violation(s) of stalled\nthe event loop did not turn for ${STALL_MS} ms\n`,
      );
      for (const child of childPids()) process.kill(Number(child), 'SIGKILL');
      process.kill(pid, 'SIGKILL');
    }
  }, BEAT_MS);
}

if (!isMainThread) watch(workerData as Watched);
