import type { Connection } from '../../../connection/Connection.js';
import type { Caller } from '../../McpPool.js';
import type { InboundRouter } from '../callers/InboundRouter.js';
import type { Seat } from './Seats.js';

/** A connection with what belongs to it while it lives. */
export class PooledConnection {
  readonly connection: Connection;
  /** As the connector made it, in front of which the pool's `wrapConnection` may have put another. */
  readonly made: Connection;
  readonly traffic: InboundRouter;
  readonly seat: Seat;
  /** Clock ms since which it holds its seat. */
  seatedMs: number;
  /** Whose it is; undefined for a spare. */
  owner: Caller | undefined;
  /** Calls and leases on it. */
  load = 0;
  /** Clock ms at which the last of them ended. */
  lastUsedMs: number;
  /** Its death has counted as a failure of the server. */
  deathCounted = false;
  /** It takes no more. */
  leaving = false;
  /** Pings that were not answered, in a row. */
  missedPings = 0;
  /** Whether the server knows `ping`. */
  pings = true;

  constructor(connection: Connection, made: Connection, traffic: InboundRouter, seat: Seat, nowMs: number) {
    this.connection = connection;
    this.made = made;
    this.traffic = traffic;
    this.seat = seat;
    this.seatedMs = nowMs;
    this.lastUsedMs = nowMs;
  }
}

/** One connection that may be asked to leave its seat. */
export interface Sitter {
  readonly link: PooledConnection;
  readonly leave: () => void;
}

/** The one unused longest. */
export function leastUsed(sitters: readonly Sitter[]): Sitter | undefined {
  return least(sitters, ({ link }) => link.lastUsedMs);
}

/** The one seated longest. */
export function longestSeated(sitters: readonly Sitter[]): Sitter | undefined {
  return least(sitters, ({ link }) => link.seatedMs);
}

/** Asks one to leave; false when there was none. */
export function leave(sitter: Sitter | undefined): boolean {
  sitter?.leave();
  return sitter !== undefined;
}

function least(sitters: readonly Sitter[], by: (sitter: Sitter) => number): Sitter | undefined {
  let first: Sitter | undefined;
  for (const each of sitters) if (first === undefined || by(each) < by(first)) first = each;
  return first;
}
