import { closeSync, constants, fstatSync, openSync, writeSync } from 'node:fs';

/** Bytes kept while they are not read; lines beyond are dropped and counted. */
const MAX_KEPT_BYTES = 1_024 * 1_024;
const RETRY_MS = 100;

/**
 * Lines to stdout or stderr that never stop the process. Node writes to pipes synchronously on Linux: one that is not drained
 * would hold up everything, signals included. The descriptor is opened anew without blocking (the shared one stays as it
 * is for others who have it); what a full pipe does not take is kept, up to 1 MiB, then dropped and counted. A file takes
 * all, and has one place to write at: there the shared one is used.
 */
export class NonBlockingOutput {
  readonly #fd: number | undefined;
  readonly #fallback: NodeJS.WriteStream;
  #kept: Buffer[] = [];
  #keptBytes = 0;
  #dropped = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(fd: 1 | 2) {
    this.#fallback = fd === 1 ? process.stdout : process.stderr;
    this.#fd = unblocked(fd);
  }

  /** Lines lost since the last line that said so. */
  get dropped(): number {
    return this.#dropped;
  }

  write(text: string): void {
    if (this.#fd === undefined) {
      // A socket, which Node writes to without blocking: what it keeps for it is bounded here.
      if (this.#fallback.writableLength > MAX_KEPT_BYTES) {
        this.#dropped++;
        return;
      }
      this.#fallback.write(text);
      if (this.#dropped > 0) this.#fallback.write(this.#toldDropped());
      return;
    }
    const bytes = Buffer.from(text);
    if (this.#kept.length > 0 && !this.#flush()) {
      this.#keep(bytes);
      return;
    }
    const rest = this.#put(bytes);
    if (rest !== undefined) this.#keep(rest);
  }

  /** Hands on what is kept, if anybody reads by now. True when nothing is left. */
  #flush(): boolean {
    while (this.#kept.length > 0) {
      const [next] = this.#kept as [Buffer];
      const rest = this.#put(next);
      if (rest !== undefined) {
        this.#kept[0] = rest;
        return false;
      }
      this.#kept.shift();
      this.#keptBytes -= next.length;
    }
    this.#keptBytes = 0;
    if (this.#dropped > 0) {
      const rest = this.#put(Buffer.from(this.#toldDropped()));
      if (rest !== undefined) this.#keep(rest);
    }
    return this.#kept.length === 0;
  }

  #toldDropped(): string {
    const told = `mcp-poolkit: ${this.#dropped} lines were dropped, since they were not read\n`;
    this.#dropped = 0;
    return told;
  }

  /** What is left of it; undefined when all of it was taken, or the reader has gone for good. */
  #put(bytes: Buffer): Buffer | undefined {
    let at = 0;
    while (at < bytes.length) {
      try {
        at += writeSync(this.#fd as number, bytes, at);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return bytes.subarray(at);
        return undefined;
      }
    }
    return undefined;
  }

  #keep(bytes: Buffer): void {
    if (this.#keptBytes + bytes.length > MAX_KEPT_BYTES) {
      this.#dropped++;
      return;
    }
    this.#kept.push(bytes);
    this.#keptBytes += bytes.length;
    this.#timer ??= setInterval(() => {
      if (!this.#flush()) return;
      clearInterval(this.#timer);
      this.#timer = undefined;
    }, RETRY_MS).unref();
  }
}

/**
 * The same pipe or terminal, opened anew and without blocking; a file as it is, since what others write to it would begin where they
 * left off, over what was written here. Undefined where neither can be (a socket, no /proc).
 */
function unblocked(fd: number): number | undefined {
  try {
    if (fstatSync(fd).isFile()) return fd;
    const own = openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_APPEND | constants.O_NONBLOCK);
    try {
      writeSync(own, '');
      return own;
    } catch {
      closeSync(own);
      return undefined;
    }
  } catch {
    return undefined;
  }
}
