import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { systemClock } from '../clock.js';
import { messageOf } from '../errors.js';
import { sleep } from '../time/sleep.js';

/** How long a pipe may say nothing before its first byte, in ms. */
const FIRST_BYTE_MS = 5_000;
const LOOK_MS = 20;
/** Parsing takes ten times as much, and the time of everything else. */
export const MAX_FILE_BYTES = 8 * 1_024 * 1_024;
/** Of a recording of calls, which may be long. */
export const MAX_RECORDING_BYTES = 256 * 1_024 * 1_024;
const CHUNK_BYTES = 64 * 1_024;

/**
 * The text of a file, which may be a pipe, as `<(command)` is. To open or read a pipe without a writer would hold a thread, and
 * with it the end of the process: so it is looked at again and again. Rejects when 5 s bring nothing, or above `maxBytes`: devices have no end.
 */
export async function readWhole(file: string, maxBytes = MAX_FILE_BYTES): Promise<string> {
  const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    return await readOpen(handle, (await handle.stat()).isFile(), maxBytes);
  } finally {
    await handle.close();
  }
}

/** The same where no more is said of a failure: it rejects by the name of the file. */
export function readNamed(file: string, maxBytes?: number): Promise<string> {
  return readWhole(file, maxBytes).catch((error: unknown) => {
    throw new Error(`${file} cannot be read: ${withoutPath(error)}`, { cause: error });
  });
}

/** What the system says of a file whose name is told beside it; of any length, it would hide the reason. */
export const withoutPath = (error: unknown): string => messageOf(error).replace(/, [a-z]+ '.*'$/s, '');

/** There is more of it than may be read. */
export class TooLongError extends Error {
  constructor(maxBytes: number) {
    super(`it has more than ${maxBytes} bytes`);
  }
}

/** The text of an open file, or pipe. Rejects above `maxBytes`. */
export async function readOpen(handle: FileHandle, regular: boolean, maxBytes = MAX_FILE_BYTES): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for (let waitedMs = 0; ; ) {
    const chunk = Buffer.alloc(CHUNK_BYTES);
    const read = await handle.read(chunk, 0, chunk.length, null).then(
      ({ bytesRead }) => bytesRead,
      (error: NodeJS.ErrnoException) => {
        if (error.code === 'EAGAIN') return undefined;
        throw error;
      },
    );
    if (read === 0 && (bytes > 0 || regular)) return textOf(chunks);
    if (read !== undefined && read > 0) {
      chunks.push(read < chunk.length ? Buffer.from(chunk.subarray(0, read)) : chunk);
      bytes += read;
      if (bytes > maxBytes) throw new TooLongError(maxBytes);
      continue;
    }
    // Nothing yet: no writer has come, or it has not written.
    if (bytes === 0 && waitedMs >= FIRST_BYTE_MS) throw tooSlow();
    await sleep(systemClock, LOOK_MS);
    waitedMs += LOOK_MS;
  }
}

/** The same at once, for what is read while something is made. The whole process waits for a pipe. @throws as `readWhole` rejects */
export function readWholeSync(file: string, maxBytes = MAX_FILE_BYTES): string {
  const opened = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const regular = fstatSync(opened).isFile();
    const chunks: Buffer[] = [];
    for (let bytes = 0, waitedMs = 0; ; ) {
      const chunk = Buffer.alloc(CHUNK_BYTES);
      const read = readNow(opened, chunk);
      if (read === undefined || (read === 0 && bytes === 0 && !regular)) {
        if (bytes === 0 && waitedMs >= FIRST_BYTE_MS) throw tooSlow();
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, LOOK_MS);
        waitedMs += LOOK_MS;
        continue;
      }
      if (read === 0) return textOf(chunks);
      chunks.push(read < chunk.length ? Buffer.from(chunk.subarray(0, read)) : chunk);
      bytes += read;
      if (bytes > maxBytes) throw new TooLongError(maxBytes);
    }
  } finally {
    closeSync(opened);
  }
}

/** UTF-8, or what the mark at its beginning says: PowerShell writes UTF-16. */
function textOf(chunks: readonly Buffer[]): string {
  const all = Buffer.concat(chunks);
  const whole = all.subarray(0, all.length & ~1);
  if (all[0] === 0xff && all[1] === 0xfe) return whole.toString('utf16le');
  return all[0] === 0xfe && all[1] === 0xff ? whole.swap16().toString('utf16le') : all.toString('utf8');
}

/** Undefined when a pipe has nothing yet. */
function readNow(opened: number, chunk: Buffer): number | undefined {
  try {
    return readSync(opened, chunk);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return undefined;
    throw error;
  }
}

/** What a stream brings until its end. Rejects above `maxBytes`. */
export async function readStream(stream: AsyncIterable<Buffer>, maxBytes = MAX_FILE_BYTES): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of stream) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes > maxBytes) throw new TooLongError(maxBytes);
  }
  return Buffer.concat(chunks).toString('utf8');
}

const tooSlow = (): Error => new Error(`nothing was written to it within ${FIRST_BYTE_MS} ms`);
