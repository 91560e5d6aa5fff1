import type { Connection, Death } from '../../connection/Connection.js';
import type { ServerInfo } from '../../connection/messages.js';
import type { CloseOptions } from '../../core/CloseScope.js';
import type { Clock } from '../../core/clock.js';
import { CircuitOpenError, ForbiddenError, PoolkitError, StartError, UnauthorizedError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import type { Caller } from '../McpPool.js';
import { CreateError } from '../resource/errors.js';
import type { Lease } from '../resource/Lease.js';
import { ResourcePool } from '../resource/ResourcePool.js';
import type { Seat, Seats } from './Seats.js';
import { next, refusedForMs, type SlotEvent, type SlotRules, type SlotState } from './slotState.js';
import type { Traffic } from './Traffic.js';

/** A connection with what belongs to it while it lives. */
export interface Link {
  readonly connection: Connection;
  readonly traffic: Traffic;
  readonly seats: readonly Seat[];
  /** Pings that were not answered, in a row. */
  missedPings: number;
  /** Whether the server knows `ping`. */
  pings: boolean;
}

export interface PartitionOptions {
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
  /** The bounds a connection counts against, in the order they are taken. */
  readonly seats: readonly Seats[];
  readonly connect: (partition: Partition, seats: readonly Seat[], signal: AbortSignal) => Promise<Link>;
  readonly onState: (partition: Partition, previous: SlotState) => void;
  readonly onLinkGone: (partition: Partition, link: Link, death: Death) => void;
  /** Nothing of it is left, and nothing to remember. */
  readonly onEmpty: (partition: Partition) => void;
}

/** Longer than a process may take to be proved dead. */
const DESTROY_TIMEOUT_MS = 30_000;

/**
 * The connections of one caller group (principal, session, capabilities) to one server, and the slot that says whether
 * they are up. A `ResourcePool` shares them out and keeps the queue; the slot alone backs off and counts failures.
 */
export class Partition {
  readonly key: string;
  readonly caller: Caller | undefined;
  readonly links = new Set<Link>();
  readonly #options: PartitionOptions;
  readonly #pool: ResourcePool<Link>;
  #state: SlotState = { tag: 'idle', attempt: 0 };
  #lastError: unknown;
  #lastInfo: ServerInfo | undefined;
  #lastUsedMs: number;

  constructor(options: PartitionOptions) {
    this.key = options.key;
    this.caller = options.caller;
    this.#options = options;
    this.#lastUsedMs = options.clock.now();
    const parkAfterMs = Math.min(5_000, options.idleTimeoutMs / 2);
    this.#pool = new ResourcePool<Link>(
      { create: ({ signal }) => this.#create(signal), destroy: (link) => this.#destroy(link) },
      {
        name: `server ${options.server}`,
        clock: options.clock,
        logger: options.logger,
        minResources: options.minLinks,
        maxResources: options.maxLinks,
        slotsPerResource: options.slotsPerLink,
        maxWaiters: options.maxQueue,
        acquireTimeoutMs: options.acquireTimeoutMs,
        createTimeoutMs: options.createTimeoutMs,
        destroyTimeoutMs: DESTROY_TIMEOUT_MS,
        // The slot owns restarts.
        createBackoff: { initialMs: 0 },
        parkAfterMs,
        idleTimeoutMs: options.idleTimeoutMs - parkAfterMs,
        validateParked: false,
      },
    );
  }

  get state(): SlotState {
    return this.#state;
  }

  get lastError(): unknown {
    return this.#lastError;
  }

  /** What the newest handshake told, also after its connection has gone. */
  get info(): ServerInfo | undefined {
    return this.#lastInfo;
  }

  get lastUsedMs(): number {
    return this.#lastUsedMs;
  }

  get queued(): number {
    return this.#pool.stats.waiting;
  }

  /** Nobody uses it, waits for it or is starting it. */
  get idle(): boolean {
    const { inUse, waiting, creating } = this.#pool.stats;
    return inUse === 0 && waiting === 0 && creating === 0;
  }

  /** A slot on a live connection, now or not at all. */
  tryAcquire(): Lease<Link> | undefined {
    const lease = this.#pool.tryAcquire();
    if (lease === undefined) return undefined;
    if (lease.resource.connection.alive) return lease;
    lease.release();
    return undefined;
  }

  /**
   * A slot on a live connection, one being started if need be. Rejects with what the start failed with,
   * `ERR_CIRCUIT_OPEN` while backing off, `ERR_ACQUIRE_TIMEOUT`, `ERR_QUEUE_FULL`, or `ERR_CLOSED`.
   */
  async acquire(options: {
    readonly signal?: AbortSignal | undefined;
    readonly timeoutMs: number;
  }): Promise<Lease<Link>> {
    for (;;) {
      this.#refuseWhileBackingOff();
      const lease = await this.#pool
        .acquire({
          timeoutMs: options.timeoutMs,
          ...(options.signal && { signal: options.signal }),
        })
        .catch((error: unknown) => {
          throw plain(error);
        });
      if (lease.resource.connection.alive) return lease;
      lease.release();
    }
  }

  /** The caller is done with his slot. With others waiting for a seat, an idle connection gives way. */
  release(lease: Lease<Link>): void {
    lease.release();
    this.#lastUsedMs = this.#options.clock.now();
    for (const seats of this.#options.seats) {
      if (seats.waiting > 0 && this.idle) this.giveWay('another caller waits for its seat');
    }
  }

  /** Uses a connection for a moment, so that it does not idle away. */
  touch(): void {
    this.#pool.tryAcquire()?.release();
  }

  /** Takes no new calls on the connections there are; each ends when its last call is back. */
  giveWay(reason: string): void {
    for (const link of [...this.links]) this.#pool.retire(link, reason);
  }

  retire(link: Link, reason: string): void {
    this.#pool.retire(link, reason);
  }

  /** Forgets what failed before. */
  reset(): void {
    this.#move('reset');
  }

  close(options?: CloseOptions): Promise<void> {
    return this.#pool.close(options);
  }

  #refuseWhileBackingOff(): void {
    const ms = refusedForMs(this.#state, this.#options.clock.now());
    if (ms > 0) throw new CircuitOpenError(this.#options.server, ms, this.#lastError);
  }

  async #create(signal: AbortSignal): Promise<Link> {
    const { clock, seats: bounds, connect } = this.#options;
    this.#refuseWhileBackingOff();
    this.#move('demand');
    const seats: Seat[] = [];
    try {
      for (const bound of bounds) seats.push(await bound.take(this.caller?.principal ?? '', signal));
      const link = await connect(this, seats, signal);
      this.#lastInfo = link.connection.info;
      this.links.add(link);
      this.#move('up');
      // Clock and state are settled before its death can be told.
      link.connection.onDeath((death) => this.#died(link, death));
      this.#lastUsedMs = clock.now();
      return link;
    } catch (error) {
      for (const seat of seats) seat.release();
      if (signal.aborted) this.#move('idled');
      else {
        this.#lastError = error;
        this.#move('startFailed');
      }
      throw error;
    }
  }

  #died(link: Link, death: Death): void {
    this.links.delete(link);
    if (!death.expected) this.#lastError = new Error(death.why);
    if (this.links.size === 0) this.#move(death.expected ? 'idled' : 'died');
    this.#pool.retire(link, death.why);
    this.#options.onLinkGone(this, link, death);
  }

  async #destroy(link: Link): Promise<void> {
    try {
      await link.connection.close({ graceMs: 0 });
    } finally {
      for (const seat of link.seats) seat.release();
      if (this.links.size === 0 && this.#state.tag === 'idle' && this.idle) this.#options.onEmpty(this);
    }
  }

  #move(event: SlotEvent): void {
    const previous = this.#state;
    this.#state = next(previous, event, this.#options.clock.now(), this.#options.rules);
    if (this.#state.tag !== previous.tag) this.#options.onState(this, previous);
  }
}

/** What a failed creation was at heart: the connection's own error, and for a refusal of credentials just that. */
function plain(error: unknown): unknown {
  const start = error instanceof CreateError && error.cause instanceof PoolkitError ? error.cause : error;
  const refused = start instanceof StartError ? start.cause : undefined;
  return refused instanceof UnauthorizedError || refused instanceof ForbiddenError ? refused : start;
}
