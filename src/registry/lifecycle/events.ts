import type { ExitInfo } from '../process/ManagedProcess.js';
import type { SweepReport } from './LedgerKeeper.js';

/** Which server an event is about. */
export interface ServerRef {
  readonly id: string;
  readonly name: string;
}

export interface LifecycleEvents {
  /** A process is about to be spawned. `attempt` 0 was asked for, n is the n-th restart in a row. */
  readonly starting: ServerRef & { readonly attempt: number };
  /** The system has started it. */
  readonly started: ServerRef & { readonly pid: number; readonly startedAt: number };
  readonly ready: ServerRef & { readonly pid: number };
  /** Its direct process ended, for whatever reason; emitted in the turn of the exit. */
  readonly exited: ServerRef & ExitInfo & { readonly pid: number };
  /** It will be started again in `delayMs`. */
  readonly restarting: ServerRef & { readonly attempt: number; readonly delayMs: number };
  /** Stopped on purpose and proved dead. */
  readonly stopped: ServerRef;
  /** Not started, restarted too often, or not to be ended. */
  readonly failed: ServerRef & { readonly error: unknown };
  /** A line it wrote to stderr. */
  readonly stderr: ServerRef & { readonly line: string };
  /** Its id is not known any more. */
  readonly removed: ServerRef;
  /** Children of dead owners were found, or files that are no records. */
  readonly swept: SweepReport;
  /** The ledger cannot be kept: children would outlive a killed owner. */
  readonly ledgerFailed: { readonly error: unknown };
}
