import type { ExitInfo } from '../process/ManagedProcess.js';
import type { SweepReport } from './LedgerKeeper.js';

/** Which server an event is about. */
export interface ServerIdentity {
  readonly id: string;
  readonly name: string;
}

export interface LifecycleEvents {
  /** A process is about to be spawned. `attempt` 0 was asked for, n is the n-th restart in a row. */
  readonly starting: ServerIdentity & { readonly attempt: number };
  /** The system has started it. */
  readonly started: ServerIdentity & { readonly pid: number; readonly startedAt: number };
  readonly ready: ServerIdentity & { readonly pid: number };
  /** Its direct process ended, for whatever reason; emitted in the turn of the exit. */
  readonly exited: ServerIdentity & ExitInfo & { readonly pid: number };
  /** It will be started again in `delayMs`. */
  readonly restarting: ServerIdentity & { readonly attempt: number; readonly delayMs: number };
  /** Stopped on purpose and proved dead. */
  readonly stopped: ServerIdentity;
  /** Not started, restarted too often, or not to be ended. */
  readonly failed: ServerIdentity & { readonly error: unknown };
  /** A line it wrote to stderr. */
  readonly stderr: ServerIdentity & { readonly line: string };
  /** Its id is not known any more. */
  readonly removed: ServerIdentity;
  /** Children of dead owners were found, or files that are no records. */
  readonly swept: SweepReport;
  /** The ledger cannot be kept: children would outlive a killed owner. */
  readonly ledgerFailed: { readonly error: unknown };
}
