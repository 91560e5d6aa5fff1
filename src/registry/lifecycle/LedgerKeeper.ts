import type { Clock } from '../../core/clock.js';
import { DiskTime } from '../../core/files/DiskTime.js';
import type { ManagedProcess, SpawnConfig } from '../process/ManagedProcess.js';
import { ProcessLedger, type RejectedRecord } from '../process/ProcessLedger.js';
import { ProcessGroup } from '../process/processGroup.js';
import { StopSequence, type StopTimes } from '../process/StopSequence.js';
import type { ProcessRecord } from './record.js';

/** What was found of owners that are gone. */
export interface SweepReport {
  /** Children ended, by the name they had; `pids` is empty when nothing of it was alive any more. */
  readonly swept: readonly { readonly name: string; readonly pids: readonly number[] }[];
  /** Children that would not end. Their records stay for the next owner. */
  readonly failed: readonly { readonly name: string; readonly error: unknown }[];
  readonly rejected: readonly RejectedRecord[];
}

export interface LedgerKeeperHooks {
  readonly clock: Clock;
  readonly onSwept: (report: SweepReport) => void;
  /** The ledger cannot be kept: children run on, but would outlive a killed owner. */
  readonly onFailure: (error: unknown) => void;
}

const SWEEP_TIMES: StopTimes = { stdinGraceMs: 0, termGraceMs: 2_000, killProofMs: 2_000, stopSignal: 'SIGTERM' };

/**
 * The manager's side of the ledger: opens and sweeps it once, and turns its troubles into reports. A start is never
 * refused for want of a ledger: a server that runs unprotected against its owner's death is better than none.
 */
export class LedgerKeeper {
  /** Settles, always well, once the children of dead owners are ended. Starts wait for it: they may want their ports. */
  readonly ready: Promise<void>;
  readonly #hooks: LedgerKeeperHooks;
  readonly #disk = new DiskTime();
  readonly #sequences = new Set<StopSequence>();
  #ledger: ProcessLedger | undefined;
  #graceMs = Number.POSITIVE_INFINITY;

  constructor(options: { readonly directory?: string } | false, hooks: LedgerKeeperHooks) {
    this.#hooks = hooks;
    this.ready = options === false || !ProcessLedger.supported ? Promise.resolve() : this.#open(options.directory);
  }

  async intend(name: string, config: SpawnConfig): Promise<ProcessRecord | undefined> {
    return this.#attempt((ledger) => ledger.intend(name, config));
  }

  async complete(record: ProcessRecord, child: ManagedProcess): Promise<void> {
    await this.#attempt((ledger) => ledger.complete(record, child));
  }

  async forget(record: ProcessRecord): Promise<void> {
    await this.#attempt((ledger) => ledger.forget(record));
  }

  /** A sweep that is running kills in `graceMs` at the latest. */
  shorten(graceMs: number): void {
    this.#graceMs = Math.min(this.#graceMs, graceMs);
    for (const sequence of this.#sequences) sequence.shorten(graceMs);
  }

  async #open(directory: string | undefined): Promise<void> {
    try {
      const { clock } = this.#hooks;
      const ledger = await this.#disk.within(() =>
        ProcessLedger.open({ clock, ...(directory === undefined ? {} : { directory }) }),
      );
      this.#ledger = ledger;
      const { orphans, rejected } = await this.#disk.within(() => ledger.read());
      const swept: { name: string; pids: number[] }[] = [];
      const failed: { name: string; error: unknown }[] = [];
      await Promise.all(
        orphans.map(async (record) => {
          try {
            swept.push({ name: record.name, pids: await this.#end(record) });
            await this.#disk.within(() => ledger.forget(record));
          } catch (error) {
            failed.push({ name: record.name, error });
          }
        }),
      );
      if (orphans.length + rejected.length > 0) this.#hooks.onSwept({ swept, failed, rejected });
    } catch (error) {
      this.#hooks.onFailure(error);
    }
  }

  /** Ends what is left of an orphan and gives the pids it had. */
  async #end(record: ProcessRecord): Promise<number[]> {
    const group = new ProcessGroup({
      pgid: record.child?.pid,
      startTime: record.child?.startTime ?? 0,
      token: record.token,
      ownChild: false,
    });
    const pids = (await group.members()).map((row) => row.pid);
    if (pids.length === 0) return pids;
    const sequence = new StopSequence(
      {
        name: record.name,
        group,
        pid: pids[0] ?? 0,
        exited: true,
        onExit: () => ({ [Symbol.dispose]: () => undefined }),
        endInput: () => undefined,
      },
      SWEEP_TIMES,
      this.#hooks.clock,
      this.#graceMs,
    );
    this.#sequences.add(sequence);
    try {
      await sequence.run();
    } finally {
      this.#sequences.delete(sequence);
    }
    return pids;
  }

  async #attempt<T>(run: (ledger: ProcessLedger) => Promise<T>): Promise<T | undefined> {
    const ledger = this.#ledger;
    if (ledger === undefined) return undefined;
    try {
      return await this.#disk.within(() => run(ledger));
    } catch (error) {
      this.#hooks.onFailure(error);
      return undefined;
    }
  }
}
