import { constants } from 'node:fs';
import { type FileHandle, mkdir, open } from 'node:fs/promises';
import { dirname, join } from 'node:path';

const FOLDER_FLAGS = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;

/**
 * A folder that belongs to this user alone. It is opened and proved anew at each use, and its files are reached through
 * the open handle (`/proc/self/fd`): a folder or link that takes its place meanwhile is never acted on. Linux only.
 */
export class OwnFolder {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  /**
   * Makes the last part of the path (0700) where it is missing, and the parts above it.
   * @throws the system's error
   */
  static async make(path: string): Promise<OwnFolder> {
    await makeFolders(path);
    return new OwnFolder(path);
  }

  /**
   * Runs `use` with a function that gives the path of a file in the folder, good until `use` has ended.
   * @throws an error that names the folder when it is a link, another user's, or writable by others
   */
  async within<T>(use: (pathOf: (file: string) => string) => Promise<T>): Promise<T> {
    const handle = await open(this.path, FOLDER_FLAGS).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ELOOP' && error.code !== 'ENOTDIR') throw error;
      throw Object.assign(new Error(`${this.path} is a link or no folder`, { cause: error }), { code: error.code });
    });
    try {
      await this.#prove(handle);
      return await use((file) => join('/proc/self/fd', String(handle.fd), file));
    } finally {
      await handle.close();
    }
  }

  async #prove(handle: FileHandle): Promise<void> {
    const { uid, mode } = await handle.stat();
    const self = process.getuid?.() ?? uid;
    if (uid !== self) throw new Error(`the folder ${this.path} belongs to user ${uid}, not to ${self}`);
    if ((mode & 0o022) !== 0) {
      const shown = `0${(mode & 0o777).toString(8)}`;
      throw new Error(`the folder ${this.path} may be written by others (mode ${shown})`);
    }
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
