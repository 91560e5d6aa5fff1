import { realpath } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { systemClock } from '../clock.js';
import { withDeadline } from '../time/within.js';
import { FileLock } from './FileLock.js';

/** Longest wait for others, in ms: none takes more than a moment. */
const WAIT_MS = 30_000;

/**
 * Runs `edit` while no other of this toolkit edits the file, by whatever name: what reads it, and writes what it made of that, loses
 * nothing that another writes meanwhile. @throws an error that names the lock when it is held for too long
 */
export async function editFile<T>(file: string, edit: () => Promise<T>): Promise<T> {
  const place = await realpath(file).catch(async () => join(await realpath(dirname(file)), basename(file)));
  const lock = `${place}.lock`;
  const late = (): Error =>
    new Error(`${file} is not written: another process holds ${lock}, or it is of another program`);
  const held = await withDeadline({ clock: systemClock, timeoutMs: WAIT_MS, late }, (signal) =>
    FileLock.take((use) => use(lock), signal),
  );
  try {
    return await edit();
  } finally {
    await held.release();
  }
}
