import { readSync } from 'node:fs';
import type { Readable } from 'node:stream';

/** A pipe holds far less; a descendant that goes on writing must not keep us reading. */
const READ_REST_BYTES = 4 * 1024 * 1024;

/**
 * Reads what the child had written before it died and the kernel still holds, in this turn: `close` would come only
 * when the last holder of the pipe is gone, and an `exit` may be seen first.
 */
export function readRest(stdout: Readable, onChunk: (chunk: Buffer) => void): void {
  const fd = (stdout as Readable & { readonly _handle?: { readonly fd?: number } | null })._handle?.fd;
  if (fd === undefined || fd < 0) return;
  const chunk = Buffer.allocUnsafe(64 * 1024);
  try {
    for (let bytes = 1, total = 0; bytes > 0 && total < READ_REST_BYTES; total += bytes) {
      bytes = readSync(fd, chunk);
      onChunk(Buffer.from(chunk.subarray(0, bytes)));
    }
  } catch (error) {
    // Empty (EAGAIN) is the usual end; whatever else it says, nothing more can be read.
    if ((error as NodeJS.ErrnoException).code === undefined) throw error;
  }
}
