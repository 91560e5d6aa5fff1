import { closeSync, constants, openSync, writeSync } from 'node:fs';

/** How long a full pipe may take nothing, in ms. */
const STALL_MS = 5_000;
const LOOK_MS = 10;
const { O_APPEND, O_CREAT, O_NONBLOCK, O_TRUNC, O_WRONLY } = constants;

/**
 * Writes a file, in place of what is in it. To open a pipe that nothing reads, or to write to a full one, would hold the process for
 * ever, signals included: the first is refused, the second may take 5 s. @throws what the system says
 */
export function writeWhole(file: string, text: string): void {
  writeInto(file, text, O_TRUNC, 0o666);
}

/** The same behind what is in it. A file that is made holds what was sent, secrets too: it is for this user alone. @throws what the system says */
export function appendWhole(file: string, text: string): void {
  writeInto(file, text, O_APPEND, 0o600);
}

/**
 * The same file stays open until this process ends. Of a pipe, what appends to it then is read on: its reader would take the end of the
 * first text for the end of all. @throws what the system says
 */
export function holdOpen(file: string): void {
  openOf(file, O_APPEND, 0o600);
}

function writeInto(file: string, text: string, how: number, mode: number): void {
  const opened = openOf(file, how, mode);
  try {
    const bytes = Buffer.from(text);
    for (let at = 0, waitedMs = 0; at < bytes.length; ) {
      const written = taken(opened, bytes, at);
      at += written;
      waitedMs = written > 0 ? 0 : waitedMs + LOOK_MS;
      if (waitedMs > STALL_MS) throw new Error(`${file}: a pipe that was not read for ${STALL_MS} ms`);
      if (written === 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, LOOK_MS);
    }
  } finally {
    closeSync(opened);
  }
}

function openOf(file: string, how: number, mode: number): number {
  try {
    return openSync(file, O_WRONLY | O_CREAT | O_NONBLOCK | how, mode);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENXIO') throw error;
    throw new Error(`${file}: a pipe that nothing reads`, { cause: error });
  }
}

/** How much it took; 0 when it is full. */
function taken(opened: number, bytes: Buffer, at: number): number {
  try {
    return writeSync(opened, bytes, at);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return 0;
    throw error;
  }
}
