import { constants } from 'node:fs';
import { lstat, mkdir, open, readdir, rename, rm, stat, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import envPaths from 'env-paths';
import { type Clock, systemClock } from '../../core/clock.js';
import { messageOf } from '../../core/errors.js';
import { newRecord, ownerOf, type ProcessRecord, parseRecord } from '../lifecycle/record.js';
import { bearsToken, newToken, TOKEN_VARIABLE } from './environment.js';
import type { ManagedProcess, SpawnConfig } from './ManagedProcess.js';

/** A file in the ledger that is not to be trusted. It was moved to the folder `rejected`. */
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

/** Records of other hosts or containers, that nobody here can judge, are dropped after this long. */
const ELSEWHERE_KEPT_MS = 30 * 24 * 3_600_000;
/** Drafts of owners that were killed while writing one. No living owner takes this long. */
const DRAFT_KEPT_MS = 60_000;
const MAX_REJECTED = 100;
const MAX_RECORD_BYTES = 65_536;

/**
 * A folder with one small file for every child that is alive or about to be: what is needed to find it again after its
 * owner was killed. Each file is made under another name and renamed, so that a reader never sees half of one. They are
 * not synced to the disk: they must outlive a process, not the machine, whose next boot makes them void.
 * Linux only: elsewhere nothing could be proved by them.
 */
export class ProcessLedger {
  readonly directory: string;
  readonly #clock: Clock;

  private constructor(directory: string, clock: Clock) {
    this.directory = directory;
    this.#clock = clock;
  }

  /** Whether this system has what a ledger needs. */
  static get supported(): boolean {
    return process.platform === 'linux';
  }

  /**
   * Makes the folder (0700) where it is missing. Without `directory` it is `$XDG_STATE_HOME/mcp-poolkit/processes`
   * (`~/.local/state` by default) or, when that cannot be used, one of the user's own under the temporary folder.
   * @throws the system's error, or one that says what is wrong with the folder
   */
  static async open(options: { readonly directory?: string; readonly clock?: Clock } = {}): Promise<ProcessLedger> {
    const { directory, clock = systemClock } = options;
    if (directory !== undefined) return new ProcessLedger(await ownFolder(directory), clock);
    try {
      return new ProcessLedger(await ownFolder(join(stateFolder(), 'processes')), clock);
    } catch (first) {
      try {
        const user = process.getuid?.() ?? 'user';
        return new ProcessLedger(await ownFolder(join(tmpdir(), `mcp-poolkit-${user}`, 'processes')), clock);
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
    await rm(this.#fileOf(record), { force: true });
  }

  /**
   * Every record whose owner is gone. Those of living owners are left alone, those of another boot dropped, and what is
   * no record is moved aside and reported. A record that marks this very process is for others to judge.
   */
  async read(): Promise<LedgerContents> {
    const orphans: ProcessRecord[] = [];
    const rejected: RejectedRecord[] = [];
    for (const file of await readdir(this.directory)) {
      const path = join(this.directory, file);
      if (file === 'rejected') continue;
      if (/^[0-9a-f]{32}\.\d+\.tmp$/.test(file)) {
        await this.#dropOld(path, DRAFT_KEPT_MS);
        continue;
      }
      let record: ProcessRecord;
      try {
        const text = await readOwnFile(path);
        if (text === undefined) continue;
        record = parseRecord(file, text);
      } catch (error) {
        await this.#reject(file);
        rejected.push({ file, why: messageOf(error) });
        continue;
      }
      const owner = ownerOf(record);
      if (owner === 'rebooted') await this.forget(record);
      else if (owner === 'elsewhere') await this.#dropOld(path, ELSEWHERE_KEPT_MS);
      else if (owner === 'gone' && !bearsToken(process.env[TOKEN_VARIABLE], record.token)) orphans.push(record);
    }
    return { orphans, rejected };
  }

  #fileOf({ token }: Pick<ProcessRecord, 'token'>): string {
    return join(this.directory, `${token}.json`);
  }

  async #write(record: ProcessRecord): Promise<void> {
    const draft = join(this.directory, `${record.token}.${process.pid}.tmp`);
    await writeFile(draft, `${JSON.stringify(record)}\n`, { mode: 0o600 });
    await rename(draft, this.#fileOf(record));
  }

  async #reject(file: string): Promise<void> {
    const folder = join(this.directory, 'rejected');
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await rename(join(this.directory, file), join(folder, `${Math.round(this.#clock.wallNow())}-${file}`));
    const all = (await readdir(folder)).sort();
    for (const old of all.slice(0, -MAX_REJECTED)) await rm(join(folder, old), { recursive: true, force: true });
  }

  async #dropOld(path: string, keptMs: number): Promise<void> {
    const found = await lstat(path).catch(ignoreMissing);
    if (found !== undefined && this.#clock.wallNow() - found.mtimeMs > keptMs) await unlink(path).catch(ignoreMissing);
  }
}

function stateFolder(): string {
  // What env-paths calls the log folder is the state folder of the XDG base directories.
  return envPaths('mcp-poolkit', { suffix: '' }).log;
}

/** Anybody else who may write there could have us kill what he likes. */
async function ownFolder(directory: string): Promise<string> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const { uid, mode } = await stat(directory);
  const self = process.getuid?.() ?? uid;
  if (uid !== self) throw new Error(`the folder ${directory} belongs to user ${uid}, not to ${self}`);
  if ((mode & 0o022) !== 0) throw new Error(`the folder ${directory} may be written by others (mode ${octal(mode)})`);
  // Found out now rather than at the first start.
  const probe = join(directory, `${newToken()}.${process.pid}.tmp`);
  await writeFile(probe, '', { mode: 0o600 });
  await unlink(probe);
  return directory;
}

function octal(mode: number): string {
  return `0${(mode & 0o777).toString(8)}`;
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
