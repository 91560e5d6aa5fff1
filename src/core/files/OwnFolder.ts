import { constants, type Stats } from 'node:fs';
import { chmod, type FileHandle, lstat, mkdir, open } from 'node:fs/promises';
import { dirname, join } from 'node:path';

const FOLDER_FLAGS = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
/** Where an open folder is reached by its handle, whatever stands under its name by then. */
const HANDLES = process.platform === 'linux';

export interface OwnFolderOptions {
  /** Whether a folder of this user's that others may read or write is closed to them; else it is refused. @defaultValue false */
  readonly shut?: boolean;
}

/** The path of a file in an open folder, good until the use of the folder has ended. */
export type PathOf = (file: string) => string;

/**
 * A folder that belongs to this user alone. It is opened and proved anew at each use, and on Linux its files are reached
 * through the open handle (`/proc/self/fd`): a folder or link that takes its place meanwhile is never acted on. Elsewhere
 * it is looked at before each use.
 */
export class OwnFolder {
  readonly path: string;
  readonly #shut: boolean;

  constructor(path: string, { shut = false }: OwnFolderOptions = {}) {
    this.path = path;
    this.#shut = shut;
  }

  /**
   * Makes the last part of the path (0700) where it is missing, and the parts above it.
   * @throws the system's error
   */
  static async make(path: string, options?: OwnFolderOptions): Promise<OwnFolder> {
    await makeFolders(path);
    return new OwnFolder(path, options);
  }

  /**
   * Runs `use` with a function that gives the path of a file in the folder, good until `use` has ended.
   * @throws an error that names the folder: `EACCES` when it is a link, another user's, or writable by others; `ENOTDIR`,
   * `ENOENT` when there is none
   */
  async within<T>(use: (pathOf: PathOf) => Promise<T>): Promise<T> {
    if (!HANDLES) {
      await this.#prove(await lstat(this.path), (mode) => chmod(this.path, mode));
      return use((file) => join(this.path, file));
    }
    const handle = await this.#open();
    try {
      await this.#prove(await handle.stat(), (mode) => handle.chmod(mode));
      return await use((file) => join('/proc/self/fd', String(handle.fd), file));
    } finally {
      await handle.close();
    }
  }

  async #open(): Promise<FileHandle> {
    try {
      return await open(this.path, FOLDER_FLAGS);
    } catch (error) {
      // The system says the same of a link and of a file.
      const found = await lstat(this.path).catch(() => undefined);
      if (found === undefined || found.isDirectory()) throw error;
      throw this.#distrust('is a link or no folder', found.isSymbolicLink() ? 'EACCES' : 'ENOTDIR', error);
    }
  }

  async #prove(stat: Stats, change: (mode: number) => Promise<void>): Promise<void> {
    if (!stat.isDirectory()) {
      throw this.#distrust('is a link or no folder', stat.isSymbolicLink() ? 'EACCES' : 'ENOTDIR');
    }
    const { uid, mode } = stat;
    const self = process.getuid?.() ?? uid;
    if (uid !== self) throw this.#distrust(`belongs to user ${uid}, not to ${self}`);
    if (this.#shut && (mode & 0o077) !== 0) return change(0o700);
    if ((mode & 0o022) !== 0) throw this.#distrust(`may be written by others (mode 0${(mode & 0o777).toString(8)})`);
  }

  #distrust(why: string, code = 'EACCES', cause?: unknown): Error {
    return Object.assign(new Error(`the folder ${this.path} ${why}`, { cause }), { code });
  }
}

/** Node's own `recursive` never returns where a file system answers ENOENT to every mkdir, as /proc does. */
async function makeFolders(path: string): Promise<void> {
  const make = (): Promise<string | undefined> =>
    mkdir(path, { mode: 0o700 }).then(
      () => undefined,
      (error: NodeJS.ErrnoException) => {
        if (error.code === 'EEXIST') return undefined;
        if (error.code === 'ENOENT') return error.code;
        throw error;
      },
    );
  if ((await make()) === undefined) return;
  const parent = dirname(path);
  if (parent !== path) await makeFolders(parent);
  if ((await make()) !== undefined) throw new Error(`the folder ${path} cannot be made: ${parent} takes no folders`);
}
