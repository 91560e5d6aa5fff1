import type { DisconnectReason } from '../../../connection/Connection.js';
import type { ServerInfo } from '../../../connection/protocol/messages.js';
import { type CloseOptions, CloseScope } from '../../../core/close/CloseScope.js';
import { type AcquireTimeoutDetail, ClosedError, keptError } from '../../../core/errors.js';
import type { Caller } from '../../McpPool.js';
import { ConnectionEnds } from '../connections/ConnectionEnds.js';
import { ConnectionStarts, type StartFailure } from '../connections/ConnectionStarts.js';
import type { ConnectionHolder, PooledConnection } from '../connections/PooledConnection.js';
import { PartitionHealth } from './PartitionHealth.js';
import { PartitionQueue } from './PartitionQueue.js';
import type { AcquireBounds, PartitionSettings } from './PartitionSettings.js';

/** Stamps of uses: they grow. */
let uses = 0;

/**
 * The connections of one group of callers (principal, session, capabilities) to one server: a counter and a queue. A
 * call takes a slot on a connection that is up. While none is up it waits for the start, which all callers share, as long
 * as that may take; while all are busy it waits in the queue. No timer is its own: what
 * idles is found by the server's sweep.
 */
export class Partition implements ConnectionHolder {
  readonly key: string;
  /** The newest of its callers that had to wait: connections are started with what this one's context says. */
  caller: Caller | undefined;
  /** Those that live. */
  readonly connections = new Set<PooledConnection>();
  readonly health: PartitionHealth<Partition>;
  /** What the newest handshake told, also after its connection has gone. */
  info: ServerInfo | undefined;
  /** Connections kept up though no call runs. */
  minConnections = 0;
  readonly #settings: PartitionSettings<Partition>;
  /** Those with a free slot; the last one is used next, so that others idle. */
  readonly #free: PooledConnection[] = [];
  /** Those that live and take calls. */
  #open = 0;
  #queue: PartitionQueue | undefined;
  readonly #starts: ConnectionStarts;
  readonly #ends: ConnectionEnds;
  #scope: CloseScope | undefined;
  #onUnused: (() => void) | undefined;

  constructor(key: string, caller: Caller | undefined, settings: PartitionSettings<Partition>) {
    this.key = key;
    this.caller = caller;
    this.#settings = settings;
    this.health = new PartitionHealth(settings);
    this.#starts = new ConnectionStarts(settings, {
      onUp: (pooled) => this.#adopt(pooled),
      onFailed: (failure) => this.#startFailed(failure),
      onSettled: (up) => {
        // One that failed is not tried again at once: the sweep does so.
        if (up) this.fill();
        this.#settled();
      },
    });
    this.#ends = new ConnectionEnds(settings, (pooled) => {
      // One that would not end has told nothing.
      this.disconnected(pooled, { expected: true, why: pooled.leaving ?? 'closed' });
      this.#settled();
    });
  }

  /** Callers that wait, for a slot or for a start. */
  get queued(): number {
    return this.#queue?.size ?? 0;
  }

  get closing(): boolean {
    return this.#scope !== undefined;
  }

  /** Calls and leases on all its connections. */
  get load(): number {
    return [...this.connections].reduce((sum, { load }) => sum + load, 0);
  }

  /** Nothing is up, coming or going, and no caller waits. */
  get unused(): boolean {
    return this.connections.size === 0 && this.#starts.size === 0 && this.#ends.size === 0 && this.queued === 0;
  }

  mayEvict(pooled: PooledConnection): boolean {
    const { evictable, host } = this.#settings;
    return evictable && pooled.leaving === undefined && this.queued === 0 && !host.isWanted(this);
  }

  /** A slot on a live connection, now or not at all. */
  tryAcquire(): PooledConnection | undefined {
    if (this.#queue !== undefined && this.#queue.size > 0) return undefined;
    for (;;) {
      const pooled = this.#free[this.#free.length - 1];
      if (pooled === undefined) return undefined;
      if (pooled.connection.alive) {
        this.#take(pooled);
        return pooled;
      }
      this.retire(pooled, 'it is dead');
    }
  }

  /**
   * A slot on a live connection, one being started if need be. Rejects with what the start failed with,
   * `ERR_BACKING_OFF`, `ERR_ACQUIRE_TIMEOUT`, `ERR_QUEUE_FULL`, `ERR_CLOSED` or the signal's reason.
   */
  async acquire(bounds: AcquireBounds): Promise<PooledConnection> {
    for (;;) {
      if (this.#scope !== undefined) throw new ClosedError(`server ${this.#settings.server}`);
      const refusal = this.#open > 0 ? undefined : this.health.refusal();
      if (refusal !== undefined) throw refusal;
      const pooled = this.tryAcquire() ?? (await this.#wait(bounds));
      if (pooled?.connection.alive) return pooled;
      if (pooled !== undefined) this.release(pooled);
    }
  }

  /** Gives a slot back. With others waiting for a connection, one that is idle now gives way. */
  release(pooled: PooledConnection): void {
    // What a call that was given up still asks and tells must not reach the next caller.
    if (this.#settings.leased && pooled.isInDoubt(this.#settings.clock)) return;
    const wasFull = pooled.load-- >= this.#settings.slots;
    if (pooled.leaving !== undefined) {
      if (pooled.load === 0) this.#ends.end(pooled);
      this.#onUnused?.();
      return;
    }
    if (wasFull) this.#free.push(pooled);
    if (this.#queue !== undefined && this.#queue.size > 0) this.#serve();
    else if (pooled.load === 0 && this.#settings.host.crowds(pooled) && pooled.idle) pooled.evict();
  }

  retire(pooled: PooledConnection, reason: string): void {
    if (pooled.leaving === undefined) {
      pooled.leaving = reason;
      this.#open--;
      const at = this.#free.indexOf(pooled);
      if (at >= 0) this.#free.splice(at, 1);
    }
    if (pooled.load === 0) this.#ends.end(pooled);
    // Those who wait for a slot wait for a start, or are refused while it backs off.
    if (this.#open === 0) this.#queue?.release(this.health.refusal());
  }

  disconnected(pooled: PooledConnection, reason: DisconnectReason): void {
    if (!this.connections.delete(pooled)) return;
    if (!reason.expected) this.health.died(reason.why);
    if (this.connections.size === 0)
      this.health.move(reason.expected || pooled.isDone(reason) ? 'idled' : 'died', this);
    // With calls on it, which fail now, it is ended by the last of them.
    this.retire(pooled, reason.why);
    this.#settings.host.onDisconnected(this, pooled, reason);
    this.#grow();
  }

  /** Takes out a connection that no caller has used, for another partition. */
  give(): PooledConnection | undefined {
    const at = this.#free.findIndex(({ load, connection }) => load === 0 && connection.alive);
    const [pooled] = at < 0 ? [] : this.#free.splice(at, 1);
    if (pooled === undefined) return undefined;
    this.#open--;
    this.connections.delete(pooled);
    if (this.connections.size === 0) this.health.move('idled', this);
    return pooled;
  }

  /** Stamps what was used since the last sweep, and ends what has idled for `idleTimeoutMs`. */
  sweep(nowMs: number): void {
    const wanted = this.caller?.keepAlive === true || this.#settings.host.isWanted(this);
    for (const pooled of this.connections) {
      const idleMs = pooled.idleMs(nowMs, wanted);
      if (idleMs >= this.#settings.idleTimeoutMs && this.#open > this.minConnections)
        this.retire(pooled, 'it was idle');
    }
    this.fill();
  }

  /** Starts what is missing to `minConnections`. A start that fails is logged; the next sweep tries again. */
  fill(): void {
    let missing = this.minConnections - this.#open - this.#starts.size;
    if (missing <= 0 || this.closing || this.health.refusal() !== undefined) return;
    for (; missing > 0; missing--) this.#start(false);
  }

  /** Refuses callers at once; calls in flight get the grace. Rejects with what did not end. */
  close(options?: CloseOptions): Promise<void> {
    if (this.#scope !== undefined) return this.#scope.close(options);
    const closed = new ClosedError(`server ${this.#settings.server}`);
    // It may be a call that has it closed, which is not to be kept for as long as that takes.
    keptError(closed);
    this.#scope = new CloseScope(closed.what, {
      clock: this.#settings.clock,
      logger: this.#settings.logger,
      onRefuse: () => {
        this.#ends.keepErrors();
        this.#starts.abort(closed);
        this.#queue?.rejectAll(closed);
        for (const pooled of [...this.connections]) this.retire(pooled, 'the server was closed');
      },
      onDrain: () =>
        new Promise((resolve) => {
          this.#onUnused = () => {
            if (this.load === 0) resolve();
          };
          this.#onUnused();
        }),
      onDeadline: () => this.#ends.endAll(this.connections),
      onRelease: () => this.#starts.settled().then(() => this.#ends.settled()),
    });
    return this.#scope.close(options);
  }

  /** In the queue: for a start as long as it takes, for a slot as long as the bounds allow. */
  async #wait(bounds: AcquireBounds): Promise<PooledConnection | undefined> {
    const { maxConnections, slots } = this.#settings;
    this.caller = bounds.caller ?? this.caller;
    for (const { made } of this.connections) made.hurry?.();
    this.#queue ??= new PartitionQueue(this.#settings, () => this.#detail());
    // Those for whom a connection is or can be started are not queued.
    const waiting = this.#queue.wait(bounds, this.#open === 0, (maxConnections - this.#open) * slots);
    this.#grow();
    return waiting;
  }

  /** As it is when a wait is over. */
  #detail(): AcquireTimeoutDetail {
    const [live, creating, dying] = [this.connections.size, this.#starts.size, this.#ends.size];
    const slots = this.#open * this.#settings.slots;
    const { load: inUse, queued, health } = this;
    return { live, creating, dying, slots, inUse, waiting: queued + 1, lastCreateError: health.lastError };
  }

  /** Hands free slots to those who wait, in their turns. */
  #serve(): void {
    for (let pooled = this.#free.at(-1); pooled !== undefined; pooled = this.#free.at(-1)) {
      const waiter = this.#queue?.shift();
      if (waiter === undefined) return;
      this.#take(pooled);
      waiter.resolve(pooled);
    }
  }

  /** One more call or lease on the last of the free ones. */
  #take(pooled: PooledConnection): void {
    pooled.lastUse = ++uses;
    if (++pooled.load >= this.#settings.slots) this.#free.pop();
  }

  /** Starts as many connections as those who wait need, within `maxConnections`. */
  #grow(): void {
    const { slots, maxConnections } = this.#settings;
    while (this.queued > this.#starts.size * slots && this.#open + this.#starts.size < maxConnections) {
      if (this.closing) return;
      this.#start(true);
    }
  }

  #start(awaited: boolean): void {
    this.health.move('demand', this);
    const spare = this.#settings.host.spare(this);
    if (spare === undefined) this.#starts.start(this.caller, awaited ? () => this.queued > 0 : undefined);
    else this.#adopt(spare);
  }

  /** A failed start is told to those it was for: to all, when nothing else is up or coming. */
  #startFailed({ error, tried, awaited }: StartFailure): void {
    if (tried) this.health.lastError = error;
    this.health.move(tried ? 'startFailed' : 'gaveUp', this);
    const { slots } = this.#settings;
    const coming = (this.#starts.size - 1) * slots;
    const all = this.#open === 0 && coming <= 0;
    if (awaited) this.#queue?.rejectNext(error, all ? this.queued : Math.min(slots, this.queued - coming));
  }

  #adopt(pooled: PooledConnection): void {
    const replaces = this.health.replaced();
    this.info = pooled.connection.info;
    this.connections.add(pooled);
    this.#free.push(pooled);
    this.#open++;
    this.health.move('up', this);
    // State and counts are settled before its end can be told.
    pooled.attach(this);
    this.#settings.host.onConnected(this, pooled, replaces);
    this.#serve();
    // Those it has no slot for wait for one from here on.
    if (this.#starts.size <= 1) this.#queue?.release(undefined);
    // Most calls need no queue: without one they need not ask it either.
    if (this.queued > 0) return;
    this.#queue?.rejectAll(undefined);
    this.#queue = undefined;
  }

  /** A start or an end is over. */
  #settled(): void {
    this.#grow();
    const nothing = this.unused && this.health.clean && this.minConnections === 0;
    if (nothing && !this.closing) this.#settings.host.onEmpty(this);
  }
}
