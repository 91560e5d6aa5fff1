import type { BigIntStats } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import type { FileStamp } from '../Entry.js';

export type StatLike = BigIntStats;

/**
 * File systems stamp changes with the time of a kernel tick and use inode numbers again: two changes within one tick
 * may look alike. A stamp taken later than this after the change cannot hide one. (git knows it as "racy".)
 */
const TICK_MS = 50;

export const identityOf = (stat: StatLike): string => `${stat.dev}:${stat.ino}:${stat.mtimeNs}:${stat.size}`;

/** Against the file system's clock, which no fake clock moves. */
export const stampOf = (stat: StatLike): FileStamp => ({
  identity: identityOf(stat),
  racy: Math.abs(Date.now() - Number(stat.mtimeMs)) < TICK_MS,
});

/** The system's code of an error, or an empty string. */
export const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';

/** A folder of ours alone. The plain call first: a recursive one hides why it failed, a read-only disk as ENOENT. */
export async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { mode: 0o700 });
  } catch (error) {
    if (codeOf(error) === 'ENOENT') await mkdir(folder, { recursive: true, mode: 0o700 });
    else if (codeOf(error) !== 'EEXIST') throw error;
  }
}
