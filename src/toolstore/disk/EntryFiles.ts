import { randomBytes } from 'node:crypto';
import { link, lstat, open, readdir, rename, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { Semaphore } from 'async-mutex';
import { DiskTime } from '../../core/files/DiskTime.js';
import { OwnFolder, type PathOf } from '../../core/files/OwnFolder.js';
import type { FileStamp } from '../entries/Entry.js';
import { TEMP_SUFFIX } from '../keys.js';
import { type Decoded, decodeFile, ENVELOPE_BYTES, FORMAT_VERSION } from './envelope.js';
import { codeOf, identityOf, readFileUpTo, type StatLike, stampOf } from './fileSystem.js';
import { Quarantine } from './Quarantine.js';

export interface EntryFilesOptions {
  readonly directory: string;
  readonly maxEntryBytes: number;
  readonly fsync: boolean;
  /** Called once for each file that was moved away. */
  readonly onQuarantined: (file: string, why: string) => void;
}

export interface FoundFile extends Decoded {
  /** Comes a moment later than the content. */
  readonly stamp: Promise<FileStamp>;
}

/** Files open at once: the rest waits here, not in the table of descriptors. */
const MAX_OPEN = 32;

/**
 * The directory of a cache. A file is written whole under a name of its own, flushed, then renamed: a reader sees the
 * old one or the new one. What cannot be read as one of ours is moved to `quarantine/`. Disk errors are thrown as Node
 * gives them. Why not write-file-atomic: docs/decisions/060-atomic-writes.md.
 */
export class EntryFiles {
  readonly #options: EntryFilesOptions;
  /** Opened and proved at each use: what another user planted there, or put in its place, is neither believed nor written to. */
  readonly #folder: OwnFolder;
  readonly #quarantine: Quarantine;
  readonly #gate = new Semaphore(MAX_OPEN);
  readonly #time = new DiskTime();
  readonly #closing = new Set<Promise<unknown>>();
  #made: Promise<unknown> | undefined;

  constructor(options: EntryFilesOptions) {
    this.#options = options;
    this.#folder = new OwnFolder(join(options.directory, `v${FORMAT_VERSION}`), { shut: true });
    this.#quarantine = new Quarantine(join(options.directory, 'quarantine'), options.onQuarantined);
  }

  /** The file's content, or undefined when there is none or when it had to be moved away. */
  read(file: string): Promise<FoundFile | undefined> {
    return this.#using(undefined, async (pathOf) => {
      const path = pathOf(file);
      const max = this.#options.maxEntryBytes + ENVELOPE_BYTES;
      try {
        const takenMs = Date.now();
        const { bytes, stat } = await readFileUpTo(path, max, this.#closing);
        const content = bytes.length > max ? 'it is too large' : await decodeFile(file, bytes);
        if (typeof content !== 'string') {
          const stamp = stat.then((each) => stampOf(each, takenMs));
          // Not every reader asks for it.
          stamp.catch(() => undefined);
          return { ...content, stamp };
        }
        await this.#quarantine.take(path, file, identityOf(await stat), content);
      } catch (error) {
        if (isAbsent(error)) return undefined;
        const stat = await lstatOf(path);
        // Each kind of what is none is refused in another way: a folder, a link, a socket, a pipe, a device.
        if (stat?.isFile() === true) throw error;
        if (stat !== undefined) await this.#quarantine.take(path, file, identityOf(stat), 'it is not a file');
      }
      return undefined;
    });
  }

  /** Descriptors on their way back to the system. */
  get closing(): Iterable<Promise<unknown>> {
    return this.#closing;
  }

  /** What a later change of the file would change; undefined when there is none. */
  async identity(file: string): Promise<string | undefined> {
    const stat = await this.stat(file);
    return stat === undefined ? undefined : identityOf(stat);
  }

  /** Whole or not at all. The directory is made (again) when it is missing. */
  write(file: string, bytes: Uint8Array): Promise<FileStamp> {
    return this.#inTurn(async () => {
      for (let attempt = 0; ; attempt++) {
        try {
          this.#made ??= OwnFolder.make(this.#folder.path);
          await this.#made;
          return await this.#folder.within((pathOf) => this.#replace(pathOf, file, bytes));
        } catch (error) {
          this.#made = undefined;
          if (attempt > 0 || !(await this.#cleared(file, codeOf(error)))) throw error;
        }
      }
    });
  }

  /** Whether a failed write is worth another try: the directory had vanished, or a directory stood in the way. */
  async #cleared(file: string, code: string): Promise<boolean> {
    if (code === 'ENOENT') return true;
    if (!['EISDIR', 'ENOTEMPTY', 'EEXIST', 'EPERM'].includes(code)) return false;
    return this.#folder.within(async (pathOf) => {
      const path = pathOf(file);
      const stat = await lstatOf(path);
      if (stat === undefined || !stat.isDirectory()) return false;
      await this.#quarantine.take(path, file, identityOf(stat), 'it is not a file');
      return true;
    });
  }

  async #replace(pathOf: PathOf, file: string, bytes: Uint8Array): Promise<FileStamp> {
    const temp = pathOf(tempOf(file));
    const handle = await open(temp, 'wx', 0o600);
    try {
      let stat: StatLike;
      let takenMs: number;
      try {
        await handle.writeFile(bytes);
        takenMs = Date.now();
        stat = await handle.stat({ bigint: true });
        if (this.#options.fsync) await handle.sync();
      } finally {
        await handle.close();
      }
      await rename(temp, pathOf(file));
      return stampOf(stat, takenMs);
    } catch (error) {
      await unlink(temp).catch(() => undefined);
      throw error;
    }
  }

  /** Resolves when there is no file of this name. */
  remove(file: string): Promise<void> {
    return this.#using(undefined, async (pathOf) => {
      const path = pathOf(file);
      try {
        await unlink(path);
      } catch (error) {
        if (isAbsent(error)) return;
        const stat = await lstatOf(path);
        if (stat?.isDirectory() !== true) throw error;
        await this.#quarantine.take(path, file, identityOf(stat), 'it is not a file');
      }
    });
  }

  /**
   * Removes the file if it is still that one. Another process may write it anew at any moment: so it is set aside, looked
   * at, and put back unless it is the one. A name that a still newer one has taken meanwhile stays as it is.
   */
  removeIf(file: string, identity: string): Promise<boolean> {
    return this.#using(false, async (pathOf) => {
      const path = pathOf(file);
      const aside = pathOf(tempOf(file));
      const before = await lstatOf(path);
      if (!before?.isFile() || identityOf(before) !== identity) return false;
      try {
        await rename(path, aside);
      } catch (error) {
        if (isAbsent(error)) return false;
        throw error;
      }
      const stat = await lstatOf(aside);
      if (stat === undefined) return false;
      if (identityOf(stat) !== identity) {
        await putBack(aside, path);
        return false;
      }
      await unlink(aside);
      return true;
    });
  }

  /** Every name in the folder, in no order. */
  names(): Promise<string[]> {
    return this.#using([], (pathOf) => readdir(pathOf('.')));
  }

  stat(file: string): Promise<StatLike | undefined> {
    return this.#using(undefined, (pathOf) => lstatOf(pathOf(file)));
  }

  /** Uses the folder, few at a time; `none` is what a folder that is not there gives. */
  #using<T>(none: T, use: (pathOf: PathOf) => Promise<T>): Promise<T> {
    return this.#inTurn(async () => {
      try {
        return await this.#folder.within(use);
      } catch (error) {
        if (isAbsent(error)) return none;
        throw error;
      }
    });
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    return this.#gate.runExclusive(() => this.#time.within(work));
  }
}

function tempOf(file: string): string {
  return `${file}.${randomBytes(8).toString('hex')}${TEMP_SUFFIX}`;
}

async function putBack(aside: string, path: string): Promise<void> {
  try {
    await link(aside, path);
  } catch (error) {
    // What is no plain file, and a file system without links, has only the rename.
    if (codeOf(error) !== 'EEXIST') return rename(aside, path);
  }
  await unlink(aside);
}

/** `ENOTDIR`: a file stands where the directory was, so there is nothing in it. */
const isAbsent = (error: unknown): boolean => ['ENOENT', 'ENOTDIR'].includes(codeOf(error));

async function lstatOf(path: string): Promise<StatLike | undefined> {
  try {
    return await lstat(path, { bigint: true });
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}
