import { randomBytes } from 'node:crypto';
import { link, lstat, readdir, rename, rm } from 'node:fs/promises';
import { OwnFolder, type PathOf } from '../../core/files/OwnFolder.js';
import { isQuarantined } from '../keys.js';
import { codeOf, identityOf } from './fileSystem.js';

/** What is kept for those who want to know what happened; the oldest goes first. */
export const QUARANTINE_MAX_FILES = 32;
export const QUARANTINE_MAX_BYTES = 16 * 2 ** 20;

/** The folder of files that could not be believed: moved, never read again, reported once, bounded. */
export class Quarantine {
  readonly #folder: string;
  readonly #onTaken: (file: string, why: string) => void;

  constructor(folder: string, onTaken: (file: string, why: string) => void) {
    this.#folder = folder;
    this.#onTaken = onTaken;
  }

  /** Moves `path` here if it is still the thing that was judged; a writer may have replaced it meanwhile. */
  async take(path: string, file: string, judged: string, why: string): Promise<void> {
    // A link here would have us move into, and delete from, a folder of others.
    const folder = await OwnFolder.make(this.#folder, { shut: true });
    await folder.within(async (pathOf) => {
      const target = pathOf(`${Date.now().toString(36)}-${randomBytes(4).toString('hex')}-${file}`);
      try {
        const stat = await lstat(path, { bigint: true });
        if (identityOf(stat) !== judged) return;
        await rename(path, target);
      } catch (error) {
        if (codeOf(error) === 'ENOENT') return;
        throw error;
      }
      if (await this.#giveBack(path, target, judged)) return;
      this.#onTaken(file, why);
      await this.#trim(pathOf);
    });
  }

  /** A good file that slipped in between the look and the rename goes back, unless a newer one is there already. */
  async #giveBack(path: string, target: string, judged: string): Promise<boolean> {
    const stat = await lstat(target, { bigint: true });
    if (identityOf(stat) === judged || !stat.isFile()) return false;
    try {
      await link(target, path);
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw error;
    }
    await rm(target, { force: true });
    return true;
  }

  async #trim(pathOf: PathOf): Promise<void> {
    // Only what was named here: other files in the folder are their owner's.
    const names = (await readdir(pathOf('.')))
      .filter((name) => isQuarantined(name))
      .sort()
      .reverse();
    let bytes = 0;
    for (const [index, name] of names.entries()) {
      const path = pathOf(name);
      const stat = await lstat(path).catch(() => undefined);
      // A folder, link or socket that stood under an entry's name was made by others: it is out of the way here, and kept.
      if (!stat?.isFile()) continue;
      bytes += stat.size;
      if (index >= QUARANTINE_MAX_FILES || bytes > QUARANTINE_MAX_BYTES) await rm(path, { force: true });
    }
  }
}
