import type { Clock } from '../../core/clock.js';
import type { CloseScope } from '../../core/close/CloseScope.js';
import type { EntryHead } from '../entries/Entry.js';
import { isEntryFile, isTempFile } from '../keys.js';
import type { EntryFiles } from './EntryFiles.js';
import { identityOf } from './fileSystem.js';

export interface SweeperOptions {
  readonly maxFiles: number;
  readonly maxDiskBytes: number;
  readonly clock: Clock;
  /** Past its life, or of an unknown age. */
  readonly isDead: (head: EntryHead) => boolean;
  /** Being written or removed by this process. */
  readonly isBusy: (file: string) => boolean;
}

/** No write takes this long: its writer is gone. One that did take it writes again. */
export const TEMP_MAX_AGE_MS = 300_000;

const FIRST_SWEEP_MS = 1_000;

/** Headers read in one sweep; the next one goes on from there. */
const MAX_READS = 256;

interface Seen {
  readonly file: string;
  readonly identity: string;
  readonly changedMs: number;
  readonly bytes: number;
}

/** Clears a directory of what killed writers left, of the expired, and of the oldest beyond the bounds. */
export class Sweeper {
  readonly #files: EntryFiles;
  readonly #options: SweeperOptions;
  #after = '';
  removed = 0;

  constructor(files: EntryFiles, options: SweeperOptions) {
    this.#files = files;
    this.#options = options;
  }

  /** Runs soon, then every `everyMs`, until the scope closes. */
  start(scope: CloseScope, everyMs: number, onTrouble: (error: unknown) => void): void {
    if (everyMs === Number.POSITIVE_INFINITY) return;
    const sweep = (): Promise<void> => this.run().catch(onTrouble);
    scope.timer('first sweep', Math.min(FIRST_SWEEP_MS, everyMs), () => {
      const first = sweep().then(() => {
        if (!scope.closing) scope.every('sweep', everyMs, sweep);
      });
      void scope.track(first);
    });
  }

  async run(): Promise<void> {
    const seen: Seen[] = [];
    const nowMs = this.#options.clock.wallNow();
    for (const file of (await this.#files.names()).sort()) {
      const temp = isTempFile(file);
      if (!temp && !isEntryFile(file)) continue;
      const stat = await this.#files.stat(file);
      if (stat === undefined) continue;
      const each = { file, identity: identityOf(stat), changedMs: Number(stat.mtimeMs), bytes: Number(stat.size) };
      if (!temp) seen.push(each);
      // The clock may have been set either way since.
      else if (Math.abs(nowMs - each.changedMs) > TEMP_MAX_AGE_MS) await this.#remove(each);
    }
    await this.#trim(await this.#expire(seen));
  }

  async #expire(seen: readonly Seen[]): Promise<Set<Seen>> {
    const kept = new Set(seen);
    const start = seen.findIndex(({ file }) => file > this.#after);
    const turn = start < 0 ? seen : [...seen.slice(start), ...seen.slice(0, start)];
    for (const each of turn.slice(0, MAX_READS)) {
      this.#after = each.file;
      const found = await this.#files.read(each.file);
      if (found !== undefined && !this.#options.isDead(found.head)) continue;
      kept.delete(each);
      if (found !== undefined) await this.#remove(each);
    }
    return kept;
  }

  async #trim(kept: ReadonlySet<Seen>): Promise<void> {
    let files = kept.size;
    let bytes = [...kept].reduce((sum, each) => sum + each.bytes, 0);
    for (const each of [...kept].sort((a, b) => a.changedMs - b.changedMs)) {
      if (files <= this.#options.maxFiles && bytes <= this.#options.maxDiskBytes) return;
      await this.#remove(each);
      files--;
      bytes -= each.bytes;
    }
  }

  async #remove({ file, identity }: Seen): Promise<void> {
    if (isTempFile(file)) await this.#files.remove(file);
    else {
      // Unless it was written anew, in this process or another.
      if (this.#options.isBusy(file) || !(await this.#files.removeIf(file, identity))) return;
    }
    this.removed++;
  }
}
