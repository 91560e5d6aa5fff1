import type { DisconnectReason } from '../../../connection/Connection.js';
import type { Clock } from '../../../core/clock.js';
import type { Logger } from '../../../core/logger.js';
import type { Caller } from '../../McpPool.js';
import type { PooledConnection } from './PooledConnection.js';
import type { PartitionState, SlotRules } from './partitionState.js';
import type { Room } from './Room.js';
import type { Seat } from './Seats.js';

/** What a partition `P` runs by, and whom it tells. */
export interface PartitionOptions<P> {
  readonly server: string;
  readonly key: string;
  readonly caller: Caller | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly rules: SlotRules;
  /** Connections at the most, and calls on each. */
  readonly maxLinks: number;
  readonly slotsPerLink: number;
  readonly minLinks: number;
  readonly maxQueue: number;
  readonly acquireTimeoutMs: number;
  readonly createTimeoutMs: number;
  readonly idleTimeoutMs: number;
  readonly room: Room;
  /** A connection that was made for nobody in particular and may be this partition's. */
  readonly spare: (partition: P) => PooledConnection | undefined;
  readonly connect: (partition: P, seat: Seat, signal: AbortSignal) => Promise<PooledConnection>;
  /** Whether its connection must not be taken from it though nobody calls. */
  readonly wanted: (partition: P) => boolean;
  readonly onState: (partition: P, previous: PartitionState) => void;
  readonly onLinkGone: (partition: P, link: PooledConnection, death: DisconnectReason) => void;
  /** Nothing of it is left, and nothing to remember. */
  readonly onEmpty: (partition: P) => void;
}
