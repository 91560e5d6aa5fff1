import { LifecycleManager } from '../registry/lifecycle/LifecycleManager.js';
import { StdioConnector, type StopTimes } from './connectors/stdioConnector.js';
import type { PoolOptions } from './server/options.js';
import type { TotalSeats } from './server/partitions/TotalSeats.js';
import { ServerPool } from './server/ServerPool.js';

export interface StdioPoolOptions extends PoolOptions, StopTimes {
  /** Who owns the processes; the pool's own by default. One handed in is not closed, and only loses what this pool started. */
  readonly lifecycle?: LifecycleManager;
  /** Where the pool's own manager keeps its ledger, so that what a killed owner left is ended by the next. `false`: nowhere. */
  readonly ledger?: { readonly directory: string } | false;
}

/**
 * Local servers over stdio: many calls over few processes. One process a principal in `shared` mode, one a borrower in
 * `leased`, one a session in `bound`. A server starts on its first call, once for all who call meanwhile, and again
 * after a crash on the next; a process ends with everything that came from it.
 */
export class StdioPool extends ServerPool {
  /** `total` is for `UnifiedPool`, whose pools share one bound. @throws OptionError */
  constructor(options: StdioPoolOptions = {}, total?: TotalSeats) {
    const { lifecycle, ledger, clock, logger, stdinGraceMs, termGraceMs, killProofMs } = options;
    const manager =
      lifecycle ??
      new LifecycleManager({
        ...(clock && { clock }),
        ...(logger && { logger }),
        ...(ledger !== undefined && { ledger }),
      });
    const times = {
      ...(stdinGraceMs !== undefined && { stdinGraceMs }),
      ...(termGraceMs !== undefined && { termGraceMs }),
      ...(killProofMs !== undefined && { killProofMs }),
    };
    super('StdioPool', new StdioConnector(manager, lifecycle === undefined, times), options, total);
  }
}
