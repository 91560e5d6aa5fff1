import { realpath } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { systemClock } from '../clock.js';
import { withDeadline } from '../time/within.js';
import { FileLock } from './FileLock.js';
import { withoutPath } from './readWhole.js';

/** Longest wait for others, in ms: none takes more than a moment. */
const WAIT_MS = 30_000;

/**
 * Runs `edit` while no other of this toolkit edits the file, by whatever name: what reads it, and writes what it made of that, loses
 * nothing that another writes meanwhile. @throws an error that names the file, and why: its folder, or the
 * lock when that is held for too long
 */
export async function editFile<T>(file: string, edit: () => Promise<T>): Promise<T> {
  const lock = `${await placeOf(file)}.lock`;
  const late = (): Error =>
    new Error(`${file} is not written: another process holds ${lock}, or it is of another program`);
  const held = await withDeadline({ clock: systemClock, timeoutMs: WAIT_MS, late }, (signal) =>
    FileLock.take((use) => use(lock).catch((error: unknown) => Promise.reject(notWritten(file, error))), signal),
  );
  try {
    return await edit();
  } finally {
    await held.release();
  }
}

/** The file by its one name, where only its folder is there, too. @throws an error that names the file, and why */
export async function placeOf(file: string): Promise<string> {
  try {
    return await realpath(file).catch(async () => join(await realpath(dirname(file)), basename(file)));
  } catch (error) {
    throw notWritten(file, error);
  }
}

function notWritten(file: string, error: unknown): Error {
  const code = (error as NodeJS.ErrnoException).code ?? '';
  const why = ['ENOENT', 'ENOTDIR'].includes(code) ? `there is no folder ${dirname(file)}` : withoutPath(error);
  return new Error(`${file} is not written: ${why}`, { cause: error });
}
