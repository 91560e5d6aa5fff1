import { type BigIntStats, close, constants, fstat, open, read } from 'node:fs';
import type { FileStamp } from '../entries/Entry.js';

export type StatLike = BigIntStats;

/**
 * File systems stamp changes with the time of a kernel tick and use inode numbers again: two changes within one tick
 * may look alike. A stamp taken later than this after the change cannot hide one. (git knows it as "racy".)
 */
const TICK_MS = 50;

export const identityOf = (stat: StatLike): string => `${stat.dev}:${stat.ino}:${stat.mtimeNs}:${stat.size}`;

/** `takenMs` is of the file system's clock, which no fake clock moves: a moment not after the stat. */
export const stampOf = (stat: StatLike, takenMs: number): FileStamp => ({
  identity: identityOf(stat),
  racy: Math.abs(takenMs - Number(stat.mtimeMs)) < TICK_MS,
});

/** The system's code of an error, or an empty string. */
export const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';

/** A link is not followed, and a pipe put in a file's place does not block the open. */
const READ_FLAGS = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);

/** What a tool list seldom exceeds. */
const FIRST_READ_BYTES = 65_536;

export interface ReadFile {
  /** All of it; or more than `maxBytes` of it, where it is larger. */
  readonly bytes: Buffer;
  readonly stat: Promise<StatLike>;
}

/**
 * A file in two trips to the system, open and read, where `fs.readFile` makes four; the stat and the close follow behind
 * the reader's back, held in `behind` until they are done.
 */
export function readFileUpTo(path: string, maxBytes: number, behind: Set<Promise<unknown>>): Promise<ReadFile> {
  return new Promise((resolve, reject) => {
    open(path, READ_FLAGS, (refused, fd) => {
      if (refused !== null) return reject(refused);
      const end = (failure: Error | null, bytes: Buffer): void => {
        const stat = statAndClose(fd);
        const done: Promise<unknown> = stat.then(
          () => behind.delete(done),
          () => behind.delete(done),
        );
        behind.add(done);
        if (failure === null) resolve({ bytes, stat });
        else reject(failure);
      };
      const fill = (bytes: Buffer, filled: number): void =>
        read(fd, bytes, filled, bytes.length - filled, filled, (failure, count) => {
          const now = filled + count;
          // Only the end of a file makes a read short.
          if (failure !== null || now < bytes.length || now > maxBytes) end(failure, bytes.subarray(0, now));
          else fill(Buffer.concat([bytes], bytes.length * 4), now);
        });
      fill(Buffer.allocUnsafe(FIRST_READ_BYTES), 0);
    });
  });
}

function statAndClose(fd: number): Promise<StatLike> {
  return new Promise((resolve, reject) => {
    fstat(fd, { bigint: true }, (failure, stat) =>
      close(fd, (unclosed) => {
        const error = failure ?? unclosed;
        if (error) reject(error);
        else resolve(stat);
      }),
    );
  });
}
