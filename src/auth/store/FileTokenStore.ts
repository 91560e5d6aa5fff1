import { createHash, randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { lstat, open, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import envPaths from 'env-paths';
import { systemClock } from '../../core/clock.js';
import { FileLock } from '../../core/files/FileLock.js';
import { OwnFolder, type PathOf } from '../../core/files/OwnFolder.js';
import { checkText, withDefaults } from '../../core/options.js';
import { checkGrant, type StoredGrant, type TokenStore } from './TokenStore.js';

export interface FileTokenStoreOptions {
  /** Its sub-folder `tokens` (mode 0700) has a file (0600) for each grant. @defaultValue the user's data folder, `~/.local/share/mcp-poolkit` on Linux */
  readonly directory?: string;
}

const MAX_GRANT_BYTES = 65_536;
/** What a file is written as before it is renamed. */
const DRAFT = /^([0-9a-f]{64}\.json)\.[0-9a-f]{16}\.tmp$/;
/** No save takes longer: an older draft is of a process that was killed. */
const STALE_MS = 60_000;
/** How often a file that is replaced as it is opened is opened again. */
const READS = 10;
const READ_FLAGS = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);
/** Modes and owners mean nothing elsewhere. */
const POSIX = process.platform !== 'win32';

/**
 * Grants in files of this user alone. A file is written whole under another name, flushed and renamed. One that others may read, that is
 * another user's, a link or has a second name is refused, and so is a folder that is another's: what stands there may be known to others.
 */
export class FileTokenStore implements TokenStore {
  /** Where the files are. */
  readonly directory: string;
  #folder: Promise<OwnFolder> | undefined;

  /** @throws OptionError */
  constructor(options: FileTokenStoreOptions = {}) {
    const { directory } = withDefaults('FileTokenStore', options, {}, { directory: true });
    this.directory = join(
      directory === undefined
        ? envPaths('mcp-poolkit', { suffix: '' }).data
        : resolve(checkText('directory', directory)),
      'tokens',
    );
  }

  async get(key: string): Promise<StoredGrant | undefined> {
    const file = fileOf(key);
    return this.#using(async (pathOf) => {
      const text = await readPrivate(pathOf(file), join(this.directory, file));
      return text === undefined ? undefined : checkGrant(parsed(text));
    });
  }

  async set(key: string, grant: StoredGrant): Promise<void> {
    const file = fileOf(key);
    const text = `${JSON.stringify(checkGrant(grant))}\n`;
    const bytes = Buffer.byteLength(text);
    if (bytes > MAX_GRANT_BYTES)
      throw new Error(`a grant of ${bytes} bytes: more than ${MAX_GRANT_BYTES} are not read`);
    await this.#using(async (pathOf) => {
      const draft = pathOf(`${file}.${randomBytes(8).toString('hex')}.tmp`);
      await sweep(pathOf).catch(() => undefined);
      try {
        await writeFile(draft, text, { mode: 0o600, flag: 'wx', flush: true });
        await rename(draft, pathOf(file));
      } catch (error) {
        await rm(draft, { force: true });
        throw error;
      }
    });
  }

  async delete(key: string): Promise<void> {
    const file = fileOf(key);
    await this.#using(async (pathOf) => {
      await rm(pathOf(file), { force: true });
      await sweep(pathOf, file);
    });
  }

  async exclusive<T>(key: string, work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const lock = `${fileOf(key)}.lock`;
    const held = await FileLock.take((use) => this.#using((pathOf) => use(pathOf(lock))), signal);
    try {
      return await work();
    } finally {
      await held.release();
    }
  }

  async #using<T>(use: (pathOf: PathOf) => Promise<T>): Promise<T> {
    this.#folder ??= OwnFolder.make(this.directory, { shut: true });
    const made = this.#folder;
    const folder = await made.catch((error: unknown) => {
      if (this.#folder === made) this.#folder = undefined;
      throw error;
    });
    return folder.within(use);
  }
}

/** Whatever a key is, it names a file in the folder and no other. */
const fileOf = (key: string): string => `${createHash('sha256').update(checkText('key', key)).digest('hex')}.json`;

/** Removes drafts that were left behind, and all of one file: they hold tokens, too. */
async function sweep(pathOf: PathOf, file?: string): Promise<void> {
  for (const name of await readdir(pathOf('.'))) {
    const of = DRAFT.exec(name)?.[1];
    if (of === undefined) continue;
    const stat = of === file ? undefined : await lstat(pathOf(name)).catch(() => undefined);
    const old = stat !== undefined && systemClock.wallNow() - stat.mtimeMs > STALE_MS;
    if (of === file || old) await rm(pathOf(name), { force: true });
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The parser's own words would show a piece of it.
    throw new Error('what is stored is not JSON');
  }
}

/** The text of a file that this user alone can read; undefined when there is none. @throws Error that says why it is refused */
async function readPrivate(path: string, shown: string, reads = READS): Promise<string | undefined> {
  const refuse = (why: string, cause?: unknown): Error =>
    new Error(`the file ${shown} ${why}; it is not used`, { cause });
  let file: Awaited<ReturnType<typeof open>>;
  try {
    file = await open(path, READ_FLAGS);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return undefined;
    if ((await lstat(path).catch(() => undefined))?.isSymbolicLink() === true) throw refuse('is a link', error);
    throw refuse(`cannot be read (${code})`, error);
  }
  try {
    const { mode, uid, nlink, size } = await file.stat();
    const self = process.getuid?.() ?? uid;
    if ((mode & constants.S_IFMT) !== constants.S_IFREG) throw refuse('is no plain file');
    if (uid !== self) throw refuse(`belongs to user ${uid}, not to ${self}`);
    if (POSIX && (mode & 0o777) !== 0o600) throw refuse(`has the mode 0${(mode & 0o777).toString(8)}, not 0600`);
    // It was replaced meanwhile.
    if (nlink === 0 && reads > 1) return await readPrivate(path, shown, reads - 1);
    if (nlink !== 1) throw refuse('has a second name (a hard link)');
    if (size > MAX_GRANT_BYTES) throw refuse(`has ${size} bytes`);
    return await file.readFile('utf8');
  } finally {
    await file.close();
  }
}
