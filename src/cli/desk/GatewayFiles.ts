import { constants } from 'node:fs';
import { type FileHandle, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import envPaths from 'env-paths';
import { OwnFolder } from '../../core/files/OwnFolder.js';
import { readProcess, startTimeOf } from '../../registry/process/processTable.js';

const MAX_LOG_BYTES = 1_024 * 1_024;
/** What a starter writes into its lock is shorter. */
const MAX_LOCK_BYTES = 64;
/** A lock is made and written in two steps: one that is empty for longer is of a starter that was killed in between. */
const MAX_EMPTY_MS = 1_000;
/** Neither a link nor a pipe is opened: the one leads elsewhere, the other waits without end. */
const SAFELY = constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** The log of the gateway of one port, and the lock of those who start it, in a folder of this user alone. */
export class GatewayFiles {
  readonly #folder: OwnFolder;
  readonly #log: string;

  private constructor(folder: OwnFolder, port: string) {
    this.#folder = folder;
    this.#log = `gateway-${port || '80'}.log`;
  }

  /** @throws an error that names the folder that cannot be made */
  static async of(port: string): Promise<GatewayFiles> {
    return new GatewayFiles(await OwnFolder.make(envPaths('mcp-poolkit', { suffix: '' }).log, { shut: true }), port);
  }

  /** The log, to be written to from `from` on; begun anew when it has grown. */
  async openLog(): Promise<{ readonly handle: FileHandle; readonly from: number }> {
    const { O_WRONLY, O_APPEND, O_CREAT } = constants;
    const handle = await this.#open(this.#log, O_WRONLY | O_APPEND | O_CREAT);
    const { size } = await handle.stat();
    if (size <= MAX_LOG_BYTES) return { handle, from: size };
    await handle.truncate();
    return { handle, from: 0 };
  }

  /** What stands in the log behind `from`, 1 MiB at most. */
  async logFrom(from: number): Promise<string> {
    await using handle = await this.#open(this.#log, constants.O_RDONLY);
    return start(handle, MAX_LOG_BYTES, from);
  }

  /** True for the one who may start it now. A lock that is older than `maxAgeMs`, or whose owner is gone, counts for nothing. */
  async take(maxAgeMs: number): Promise<boolean> {
    const held = await this.#ownerOf(maxAgeMs);
    if (held === 'alive') return false;
    if (held === 'gone') await this.release();
    const { O_WRONLY, O_CREAT, O_EXCL } = constants;
    try {
      await using handle = await this.#open(this.#lock, O_WRONLY | O_CREAT | O_EXCL);
      await handle.writeFile(`${process.pid} ${startTimeOf(process.pid)}`);
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
      throw error;
    }
  }

  async release(): Promise<void> {
    await this.#folder.within((pathOf) => rm(pathOf(this.#lock), { force: true }));
  }

  get #lock(): string {
    return `${this.#log}.lock`;
  }

  async #ownerOf(maxAgeMs: number): Promise<'none' | 'alive' | 'gone'> {
    try {
      await using handle = await this.#open(this.#lock, constants.O_RDONLY);
      const text = await start(handle, MAX_LOCK_BYTES);
      const ageMs = Math.abs(Date.now() - (await handle.stat()).mtimeMs);
      if (ageMs > maxAgeMs) return 'gone';
      return (text === '' ? ageMs <= MAX_EMPTY_MS : isAlive(text)) ? 'alive' : 'gone';
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 'none';
      throw error;
    }
  }

  /** @throws an error that names a file that is none, or another's */
  async #open(file: string, flags: number): Promise<FileHandle> {
    const odd = (): Error => new Error(`${join(this.#folder.path, file)} is no plain file of this user`);
    return this.#folder.within(async (pathOf) => {
      const handle = await open(pathOf(file), flags | SAFELY, 0o600).catch((error: NodeJS.ErrnoException) => {
        throw ['ELOOP', 'ENXIO', 'EISDIR'].includes(error.code ?? '') ? odd() : error;
      });
      const found = await handle.stat();
      if (found.isFile() && found.uid === (process.getuid?.() ?? found.uid)) return handle;
      await handle.close();
      throw odd();
    });
  }
}

/** Of a file that may have grown to any size. */
async function start(handle: FileHandle, bytes: number, from = 0): Promise<string> {
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(bytes), 0, bytes, from);
  return buffer.toString('utf8', 0, bytesRead);
}

/** Of `<pid> <start time>`: a number alone may be another process's since. */
function isAlive(owner: string): boolean {
  const [, pid, startTime] = /^([1-9]\d{0,9}) (\d+)$/.exec(owner) ?? [];
  if (pid === undefined) return false;
  const row = readProcess(Number(pid));
  if (row !== undefined && startTime !== '0') return row.alive && row.startTime === Number(startTime);
  try {
    return process.kill(Number(pid), 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
