import { constants } from 'node:fs';
import { lstat, open, readdir, rename, rm, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import envPaths from 'env-paths';
import { type Clock, systemClock } from '../../core/clock.js';
import { messageOf } from '../../core/errors.js';
import { OwnFolder } from '../../core/files/OwnFolder.js';
import { withDefaults } from '../../core/options.js';
import { newRecord, ownerOf, type ProcessRecord, parseRecord } from '../lifecycle/record.js';
import { bearsToken, newToken, TOKEN_VARIABLE } from './environment.js';
import type { ManagedProcess, SpawnConfig } from './ManagedProcess.js';

/** A record in the ledger that is not to be trusted. A file of ours was moved to the folder `rejected`. */
export interface RejectedRecord {
  readonly file: string;
  readonly why: string;
}

/** What a look through the ledger found. */
export interface LedgerContents {
  /** Children of owners that are gone. */
  readonly orphans: readonly ProcessRecord[];
  readonly rejected: readonly RejectedRecord[];
}

/** Records of other hosts or containers, which this host cannot judge, are dropped after this long. */
const ELSEWHERE_KEPT_MS = 30 * 24 * 3_600_000;
/** Drafts of owners that were killed while writing one. No living owner takes this long. */
const DRAFT_KEPT_MS = 60_000;
const MAX_REJECTED = 100;
const MAX_RECORD_BYTES = 65_536;
const SUBFOLDER = 'processes';
/** The only names a ledger writes, and so the only ones it moves or removes. */
const RECORD_NAME = /^[0-9a-f]{32}\.json$/;
const DRAFT_NAME = /^[0-9a-f]{32}\.\d+\.tmp$/;
const REJECTED_NAME = /^\d+-[0-9a-f]{32}\.json$/;

/**
 * A folder with one small file for every child that is alive or about to be: what is needed to find it again after its
 * owner was killed. Each file is made under another name and renamed, so that a reader never sees half of one. They are
 * not synced to the disk: they must outlive a process, not the machine, whose next boot makes them void.
 * Linux only: elsewhere nothing could be proved by them.
 */
export class ProcessLedger {
  /** The sub-folder `processes` of the one that was given. */
  readonly directory: string;
  readonly #folder: OwnFolder;
  readonly #clock: Clock;

  private constructor(folder: OwnFolder, clock: Clock) {
    this.directory = folder.path;
    this.#folder = folder;
    this.#clock = clock;
  }

  /** Whether this system has what a ledger needs. */
  static get supported(): boolean {
    return process.platform === 'linux';
  }

  /**
   * Makes the sub-folder `processes` (0700) of `directory`. Without one it is `$XDG_STATE_HOME/mcp-poolkit/processes`
   * (`~/.local/state` by default) or, when that cannot be used, one of the user's own under the temporary folder.
   * Files that the ledger did not name itself are never touched.
   * @throws the system's error, or one that says what is wrong with the folder
   */
  static async open(options: { readonly directory?: string; readonly clock?: Clock } = {}): Promise<ProcessLedger> {
    const given = withDefaults('ProcessLedger', options, {}, { directory: true, clock: true });
    const { directory, clock = systemClock } = given;
    if (directory !== undefined) return new ProcessLedger(await ledgerFolder(directory), clock);
    try {
      return new ProcessLedger(await ledgerFolder(stateFolder()), clock);
    } catch (first) {
      try {
        // Others may write into the temporary folder: what they planted there under our name is refused, not followed.
        const base = await OwnFolder.make(join(tmpdir(), `mcp-poolkit-${process.getuid?.() ?? 'user'}`));
        await base.within(async () => undefined);
        return new ProcessLedger(await ledgerFolder(base.path), clock);
      } catch (error) {
        throw new AggregateError([first, error], `no folder for the ledger: ${messageOf(first)}; ${messageOf(error)}`);
      }
    }
  }

  /** Writes down that a child is about to be started. To be awaited before the spawn. */
  async intend(name: string, config: SpawnConfig): Promise<ProcessRecord> {
    const record = newRecord(newToken(), name, config, this.#clock.wallNow());
    await this.#write(record);
    return record;
  }

  /** Adds who it became. */
  async complete(record: ProcessRecord, child: ManagedProcess): Promise<void> {
    // Without its start time a pid is worth nothing; the token remains.
    if (child.startTime > 0) await this.#write({ ...record, child: { pid: child.pid, startTime: child.startTime } });
  }

  /** It is dead, with all that came from it, or never was. */
  async forget(record: Pick<ProcessRecord, 'token'>): Promise<void> {
    await this.#folder.within((pathOf) => rm(pathOf(fileOf(record)), { force: true }));
  }

  /**
   * Every record whose owner is gone. Those of living owners are left alone, those of another boot dropped, and what is
   * no record but has the name of one is moved aside and reported. A record that marks this very process is for others to judge.
   */
  async read(): Promise<LedgerContents> {
    const orphans: ProcessRecord[] = [];
    const rejected: RejectedRecord[] = [];
    await this.#folder.within(async (pathOf) => {
      for (const file of await readdir(pathOf('.'))) {
        if (DRAFT_NAME.test(file)) await this.#dropOld(pathOf(file), DRAFT_KEPT_MS);
        if (!RECORD_NAME.test(file)) continue;
        try {
          const text = await readOwnFile(pathOf(file));
          if (text !== undefined) await this.#judge(parseRecord(file, text), pathOf(file), orphans);
        } catch (error) {
          // One that cannot be moved stays where it is, and the orphans of the other records are still found.
          const why = messageOf(error);
          await this.#reject(pathOf(file), file).then(
            () => rejected.push({ file, why }),
            (failed: unknown) => rejected.push({ file, why: `${why}; it was left in place: ${messageOf(failed)}` }),
          );
        }
      }
    });
    return { orphans, rejected };
  }

  async #judge(record: ProcessRecord, path: string, orphans: ProcessRecord[]): Promise<void> {
    const owner = ownerOf(record);
    if (owner === 'rebooted') await rm(path, { force: true });
    else if (owner === 'elsewhere') await this.#dropOld(path, ELSEWHERE_KEPT_MS);
    else if (owner === 'gone' && !bearsToken(process.env[TOKEN_VARIABLE], record.token)) orphans.push(record);
  }

  async #write(record: ProcessRecord): Promise<void> {
    await this.#folder.within(async (pathOf) => {
      const draft = pathOf(`${record.token}.${process.pid}.tmp`);
      await rm(draft, { force: true });
      // wx: a link under this name is not followed.
      await writeFile(draft, `${JSON.stringify(record)}\n`, { mode: 0o600, flag: 'wx' });
      await rename(draft, pathOf(fileOf(record)));
    });
  }

  /** Only a plain file is moved: a folder, link or socket under a record's name is not ours. */
  async #reject(path: string, file: string): Promise<void> {
    if (!(await lstat(path).catch(ignoreMissing))?.isFile()) return;
    const folder = await OwnFolder.make(join(this.directory, 'rejected'));
    await folder.within(async (pathOf) => {
      await rename(path, pathOf(`${Math.round(this.#clock.wallNow())}-${file}`));
      const all = (await readdir(pathOf('.'))).filter((each) => REJECTED_NAME.test(each)).sort();
      for (const old of all.slice(0, -MAX_REJECTED)) await unlinkFile(pathOf(old));
    });
  }

  async #dropOld(path: string, keptMs: number): Promise<void> {
    const found = await lstat(path).catch(ignoreMissing);
    if (found?.isFile() && this.#clock.wallNow() - found.mtimeMs > keptMs) await unlinkFile(path);
  }
}

function fileOf({ token }: Pick<ProcessRecord, 'token'>): string {
  return `${token}.json`;
}

async function unlinkFile(path: string): Promise<void> {
  if ((await lstat(path).catch(ignoreMissing))?.isFile()) await unlink(path).catch(ignoreMissing);
}

function stateFolder(): string {
  // What env-paths calls the log folder is the state folder of the XDG base directories.
  return envPaths('mcp-poolkit', { suffix: '' }).log;
}

/** Another user who may write there could have any process of this user killed: hence the proof, before the first start. */
async function ledgerFolder(parent: string): Promise<OwnFolder> {
  const folder = await OwnFolder.make(join(parent, SUBFOLDER));
  await folder.within(async (pathOf) => {
    const probe = pathOf(`${newToken()}.${process.pid}.tmp`);
    await writeFile(probe, '', { mode: 0o600, flag: 'wx' });
    await unlink(probe);
  });
  return folder;
}

/** Undefined when it has gone meanwhile: its owner was done with it. */
async function readOwnFile(path: string): Promise<string | undefined> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(ignoreMissing);
  if (file === undefined) return undefined;
  try {
    const found = await file.stat();
    if (!found.isFile()) throw new Error('it is not a file');
    if (found.uid !== (process.getuid?.() ?? found.uid)) throw new Error(`it belongs to user ${found.uid}`);
    if (found.size > MAX_RECORD_BYTES) throw new Error(`it has ${found.size} bytes`);
    return await file.readFile('utf8');
  } finally {
    await file.close();
  }
}

function ignoreMissing(error: unknown): undefined {
  if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  return undefined;
}
