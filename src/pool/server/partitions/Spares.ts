import type { ConnectionLimit } from '../../../concurrent/ConnectionLimit.js';
import { eraFor, shareOf } from '../callers/callerKey.js';
import type { PooledConnection } from '../connections/PooledConnection.js';
import type { ServerContext } from '../context.js';
import type { Partition } from './Partition.js';

/** The key of the partition of spares; no caller's key is one word. */
export const SPARES = 'spares';

/** Connections of a `bound` server that belong to no session yet: the next key takes one in place of a start. */
export class Spares {
  readonly #context: ServerContext;
  readonly #limit: ConnectionLimit;
  readonly #make: (key: string) => Partition;
  #partition: Partition | undefined;

  constructor(context: ServerContext, limit: ConnectionLimit, make: (key: string) => Partition) {
    this.#context = context;
    this.#limit = limit;
    this.#make = make;
  }

  /** Undefined before the first, and once it closes. */
  get partition(): Partition | undefined {
    return this.#partition;
  }

  open(): Partition {
    this.#partition ??= this.#make(SPARES);
    return this.#partition;
  }

  closes(partition: Partition): void {
    if (this.#partition === partition) this.#partition = undefined;
  }

  /** One was made with the server's own capabilities and no principal's credentials: it suits a caller that asks no more. */
  takeFor({ caller, key }: Partition): PooledConnection | undefined {
    const { options, pool } = this.#context;
    if (this.#partition === undefined || key === SPARES) return undefined;
    const { principal, capabilities, clientInfo, protocolVersion } = caller ?? {};
    if (capabilities !== undefined || clientInfo !== undefined || protocolVersion !== undefined) return undefined;
    if (eraFor(caller, options) !== undefined) return undefined;
    if (pool.credentials !== undefined && principal !== undefined) return undefined;
    const group = shareOf(caller, options.sharing);
    // What it takes here counts as what it starts.
    if (!this.#limit.mayTake(group, 1) || !this.#context.totalLimit.mayTake(group, 1)) return undefined;
    const pooled = this.#partition.give();
    if (pooled === undefined) return undefined;
    pooled.permit.moveTo(group);
    pooled.heldSinceMs = pool.clock.now();
    this.#partition.fill();
    return pooled;
  }
}
