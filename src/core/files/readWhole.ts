import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { systemClock } from '../clock.js';
import { sleep } from '../time/sleep.js';

/** How long a pipe may say nothing before its first byte, in ms. */
const FIRST_BYTE_MS = 5_000;
const LOOK_MS = 20;
/** Parsing takes ten times as much, and the time of everything else. */
export const MAX_FILE_BYTES = 8 * 1_024 * 1_024;

/**
 * The text of a file, which may be a pipe, as `<(command)` is. To open or read a pipe without a writer would hold a thread, and
 * with it the end of the process: so it is looked at again and again. Rejects when 5 s bring nothing, or above 8 MiB.
 */
export async function readWhole(file: string): Promise<string> {
  const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    return await readOpen(handle, (await handle.stat()).isFile());
  } finally {
    await handle.close();
  }
}

/** The text of an open file, or pipe. Rejects above 8 MiB. */
export async function readOpen(handle: FileHandle, regular: boolean): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for (let waitedMs = 0; ; ) {
    const chunk = Buffer.alloc(64 * 1_024);
    const read = await handle.read(chunk, 0, chunk.length, null).then(
      ({ bytesRead }) => bytesRead,
      (error: NodeJS.ErrnoException) => {
        if (error.code === 'EAGAIN') return undefined;
        throw error;
      },
    );
    if (read === 0 && (bytes > 0 || regular)) return Buffer.concat(chunks).toString('utf8');
    if (read !== undefined && read > 0) {
      chunks.push(read < chunk.length ? Buffer.from(chunk.subarray(0, read)) : chunk);
      bytes += read;
      if (bytes > MAX_FILE_BYTES) throw new Error(`it has more than ${MAX_FILE_BYTES} bytes`);
      continue;
    }
    // Nothing yet: no writer has come, or it has not written.
    if (bytes === 0 && waitedMs >= FIRST_BYTE_MS)
      throw new Error(`nothing was written to it within ${FIRST_BYTE_MS} ms`);
    await sleep(systemClock, LOOK_MS);
    waitedMs += LOOK_MS;
  }
}
