import { randomUUID } from 'node:crypto';
import { readlinkSync } from 'node:fs';
import { link, lstat, rename, rm, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { systemClock } from '../clock.js';
import { sleep } from '../time/sleep.js';
import { readWhole } from './readWhole.js';

const LOOK_MS = 50;
const MAX_MARK_BYTES = 4_096;
/** What is done under a lock is bounded by less; an older one was left behind. */
const STALE_MS = 60_000;

/** Where a pid means anything. Containers may share a folder and the name of their host. */
const HERE = Object.freeze({ host: hostname(), pids: pidNamespace() });

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
    const mark = JSON.stringify({ ...HERE, pid: process.pid, id: randomUUID() });
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
  if ((await lstat(path).catch(() => undefined)) === undefined) return place(path, mark);
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

/** Puts it there whole, or not at all: a full disk leaves no part of one. False where there is one. */
async function place(path: string, mark: string): Promise<boolean> {
  const aside = `${path}.${randomUUID()}`;
  const write = (file: string): Promise<void> => writeFile(file, mark, { mode: 0o600, flag: 'wx' });
  try {
    await write(aside);
    await link(aside, path).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'EEXIST') throw error;
      // A file system without links.
      return write(path);
    });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    await rm(aside, { force: true });
  }
}

/** Whether it is a lock of ours whose owner is gone, or that is too old. What another program put there is left alone. */
async function isLeft(path: string, held: string): Promise<boolean> {
  const owner = ownerIn(held);
  const stat = owner && (await lstat(path).catch(() => undefined));
  if (owner === undefined || stat === undefined) return false;
  if (Math.abs(systemClock.wallNow() - stat.mtimeMs) > STALE_MS) return true;
  if (owner.host !== HERE.host || owner.pids !== HERE.pids) return false;
  try {
    process.kill(owner.pid, 0);
    return false;
  } catch (error) {
    // A process that may not be signalled is there.
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}

function ownerIn(mark: string): { readonly host: string; readonly pids: unknown; readonly pid: number } | undefined {
  try {
    const { host, pids, pid, id } = JSON.parse(mark) as Readonly<Record<string, unknown>>;
    return typeof host === 'string' && typeof pid === 'number' && typeof id === 'string'
      ? { host, pids, pid }
      : undefined;
  } catch {
    return undefined;
  }
}

/** Empty where there are none. */
function pidNamespace(): string {
  try {
    return readlinkSync('/proc/self/ns/pid');
  } catch {
    return '';
  }
}
