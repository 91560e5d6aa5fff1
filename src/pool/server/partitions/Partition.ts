import type { DisconnectReason } from '../../../connection/Connection.js';
import type { ServerInfo } from '../../../connection/protocol/messages.js';
import type { CloseOptions } from '../../../core/close/CloseScope.js';
import {
  CircuitOpenError,
  ClosedError,
  ForbiddenError,
  PoolkitError,
  QueueFullError,
  StartError,
  UnauthorizedError,
} from '../../../core/errors.js';
import type { Caller } from '../../McpPool.js';
import { CreateError } from '../../resource/errors.js';
import type { Lease } from '../../resource/Lease.js';
import { ResourcePool } from '../../resource/ResourcePool.js';
import type { PartitionOptions } from './PartitionOptions.js';
import type { PooledConnection, Sitter } from './PooledConnection.js';
import { next, type PartitionState, refusedForMs, type SlotEvent } from './partitionState.js';
import type { Seat } from './Seats.js';

/** Longer than a process may take to be proved dead. */
const DESTROY_TIMEOUT_MS = 30_000;

/**
 * The connections of one caller group (principal, session, capabilities) to one server, and the slot that says whether
 * they are up. A `ResourcePool` shares them out and keeps the queue; the slot alone backs off and counts failures.
 */
export class Partition {
  readonly key: string;
  readonly caller: Caller | undefined;
  readonly links = new Set<PooledConnection>();
  readonly #options: PartitionOptions<Partition>;
  readonly #pool: ResourcePool<PooledConnection>;
  #state: PartitionState = { tag: 'idle', attempt: 0 };
  #lastError: unknown;
  #lastInfo: ServerInfo | undefined;
  #lastUsedMs: number;
  /** A connection died by itself: the next one takes its place. */
  #bereft = false;

  constructor(options: PartitionOptions<Partition>) {
    this.key = options.key;
    this.caller = options.caller;
    this.#options = options;
    this.#lastUsedMs = options.clock.now();
    const parkAfterMs = Math.min(5_000, options.idleTimeoutMs / 2);
    this.#pool = new ResourcePool<PooledConnection>(
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

  get state(): PartitionState {
    return this.#state;
  }

  get lastError(): unknown {
    return this.#lastError;
  }

  /** What the newest handshake told, also after its connection has gone. */
  get info(): ServerInfo | undefined {
    return this.#lastInfo;
  }

  get queued(): number {
    return this.#pool.stats.waiting;
  }

  /** Nobody uses it, waits for it or is starting it. */
  get idle(): boolean {
    const { inUse, waiting, creating } = this.#pool.stats;
    return inUse === 0 && waiting === 0 && creating === 0;
  }

  /** Nothing of it is left that is worth remembering at `nowMs`; `forgetAfterMs` is the longest pause there is. */
  forgettable(nowMs: number, forgetAfterMs: number): boolean {
    const rests = refusedForMs(this.#state, nowMs) === 0 && nowMs - this.#lastUsedMs >= forgetAfterMs;
    return rests && this.links.size === 0 && this.idle && !this.#options.wanted(this);
  }

  /** Its connections that nobody uses and nobody waits for. */
  get sparable(): Sitter[] {
    if (this.#options.wanted(this) || this.queued > 0) return [];
    return this.sitters.filter(({ link }) => link.load === 0);
  }

  /** Its connections that take calls. */
  get sitters(): Sitter[] {
    const staying = [...this.links].filter((link) => !link.leaving);
    return staying.map((link) => ({ link, leave: () => this.retire(link, 'another caller waits for its seat') }));
  }

  /** Whether the connection coming up takes the place of one that died by itself. */
  takePlace(): boolean {
    const was = this.#bereft;
    this.#bereft = false;
    return was;
  }

  /** A slot on a live connection, now or not at all. */
  tryAcquire(): Lease<PooledConnection> | undefined {
    const lease = this.#pool.tryAcquire();
    return lease === undefined ? undefined : this.#usable(lease);
  }

  /**
   * A slot on a live connection, one being started if need be. Rejects with what the start failed with,
   * `ERR_CIRCUIT_OPEN` while backing off, `ERR_ACQUIRE_TIMEOUT`, `ERR_QUEUE_FULL`, or `ERR_CLOSED`.
   */
  async acquire(options: {
    readonly signal?: AbortSignal | undefined;
    readonly timeoutMs: number;
  }): Promise<Lease<PooledConnection>> {
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
      const usable = this.#usable(lease);
      if (usable !== undefined) return usable;
    }
  }

  /** The caller is done with his slot. With others waiting for a seat, an idle connection gives way. */
  release(lease: Lease<PooledConnection>): void {
    const link = lease.resource;
    const { clock, room } = this.#options;
    const yields = room.crowded && link.load === 1 && this.queued === 0 && !this.#options.wanted(this);
    link.load--;
    lease.release();
    this.#lastUsedMs = clock.now();
    link.lastUsedMs = this.#lastUsedMs;
    if (yields) this.retire(link, 'another caller waits for its seat');
  }

  /** Uses a connection for a moment, so that it does not idle away. */
  touch(): void {
    this.#pool.tryAcquire()?.release();
  }

  /** Takes no new calls on `link`; it ends when its last call is back. */
  retire(link: PooledConnection, reason: string): void {
    link.leaving = true;
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

  /** Counts a lease on its connection; gives it back if that has died. */
  #usable(lease: Lease<PooledConnection>): Lease<PooledConnection> | undefined {
    const link = lease.resource;
    if (link.connection.alive) {
      link.load++;
      return lease;
    }
    this.#pool.retire(link, 'dead');
    lease.release();
    return undefined;
  }

  async #create(signal: AbortSignal): Promise<PooledConnection> {
    this.#refuseWhileBackingOff();
    this.#move('demand');
    const spare = this.#options.spare(this);
    if (spare !== undefined) return this.#adopt(spare);
    let seat: Seat | undefined;
    try {
      seat = await this.#seat(signal);
      const link = await this.#options.connect(this, seat, signal);
      if (!link.connection.alive) throw await this.#stillborn(link);
      return this.#adopt(link);
    } catch (error) {
      const given = seat === undefined || (signal.aborted && signal.reason instanceof ClosedError);
      seat?.release();
      if (!given) this.#lastError = error;
      this.#move(given ? 'gaveUp' : 'startFailed');
      throw error;
    }
  }

  /** One that nobody waits for, to be kept ready, takes no seat that anybody else may want. */
  async #seat(signal: AbortSignal): Promise<Seat> {
    const { room, server, maxLinks } = this.#options;
    if (this.queued > 0) return room.take(this.caller?.principal ?? '', signal);
    const seat = room.tryTake();
    if (seat === undefined) throw new QueueFullError(`seats of server ${server}`, this.links.size, maxLinks);
    return seat;
  }

  async #stillborn({ connection }: PooledConnection): Promise<StartError> {
    await connection.close({ graceMs: 0 });
    return new StartError(this.#options.server, 'it died right after its start');
  }

  #adopt(link: PooledConnection): PooledConnection {
    this.#lastInfo = link.connection.info;
    this.#lastUsedMs = this.#options.clock.now();
    this.links.add(link);
    this.#move('up');
    // Clock and state are settled before its death can be told.
    link.connection.onClose((death) => this.#died(link, death));
    return link;
  }

  #died(link: PooledConnection, death: DisconnectReason): void {
    this.links.delete(link);
    if (!death.expected) {
      this.#bereft = true;
      this.#lastError = new Error(death.why);
    }
    if (this.links.size === 0) this.#move(death.expected ? 'idled' : 'died');
    this.retire(link, death.why);
    this.#options.onLinkGone(this, link, death);
  }

  async #destroy(link: PooledConnection): Promise<void> {
    try {
      await link.connection.close({ graceMs: 0 });
    } finally {
      link.seat.release();
      const { tag, attempt } = this.#state;
      // What failed before must be remembered for the next call.
      const clean = tag === 'idle' && attempt === 0 && !this.#bereft;
      if (clean && this.links.size === 0 && this.idle) this.#options.onEmpty(this);
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
