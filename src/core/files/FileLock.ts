import { randomUUID } from 'node:crypto';
import { lstat, rename, rm, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { systemClock } from '../clock.js';
import { sleep } from '../time/sleep.js';
import { readWhole } from './readWhole.js';

const LOOK_MS = 50;
const MAX_MARK_BYTES = 4_096;
/** What is done under a lock is bounded by less; an older one was left behind. */
const STALE_MS = 60_000;

/** Gives the lock's path, good until `use` has ended. */
type At = <T>(use: (path: string) => Promise<T>) => Promise<T>;

/** A file that one process has at a time. One whose owner is gone, or that is too old, counts for nothing. */
export class FileLock {
  readonly #at: At;
  readonly #mark: string;

  private constructor(at: At, mark: string) {
    this.#at = at;
    this.#mark = mark;
  }

  /** Waits its turn until the signal aborts. */
  static async take(at: At, signal: AbortSignal): Promise<FileLock> {
    const mark = JSON.stringify({ host: hostname(), pid: process.pid, id: randomUUID() });
    for (;;) {
      signal.throwIfAborted();
      if (await at((path) => tryTake(path, mark))) return new FileLock(at, mark);
      await sleep(systemClock, LOOK_MS, { signal });
    }
  }

  /** One that was taken over meanwhile stays its new owner's. */
  async release(): Promise<void> {
    await this.#at(async (path) => {
      if ((await markIn(path)) === this.#mark) await rm(path, { force: true });
    });
  }
}

/** Undefined where there is none, or another's pipe, link or file that no lock of ours is. */
const markIn = (path: string): Promise<string | undefined> => readWhole(path, MAX_MARK_BYTES).catch(() => undefined);

async function tryTake(path: string, mark: string): Promise<boolean> {
  try {
    await writeFile(path, mark, { mode: 0o600, flag: 'wx' });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  const held = await markIn(path);
  if (held === undefined || !(await isLeft(path, held))) return false;
  // Moved first, and looked at where none else finds it: of two that saw it, one gets what the other has just taken, and gives it back.
  const aside = `${path}.${randomUUID()}`;
  if (!(await rename(path, aside).then(Boolean.bind(undefined, true), () => false))) return false;
  if (((await markIn(aside)) ?? held) !== held) {
    await rename(aside, path);
    return false;
  }
  await rm(aside, { force: true });
  return false;
}

async function isLeft(path: string, held: string): Promise<boolean> {
  const stat = await lstat(path).catch(() => undefined);
  if (stat === undefined) return false;
  if (Math.abs(systemClock.wallNow() - stat.mtimeMs) > STALE_MS) return true;
  try {
    const { host, pid } = JSON.parse(held) as { readonly host?: unknown; readonly pid?: unknown };
    if (host !== hostname() || typeof pid !== 'number') return false;
    process.kill(pid, 0);
    return false;
  } catch (error) {
    // What is half written is its owner's for a minute; a process that may not be signalled is there.
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}
