import type { DisconnectReason } from '../../../connection/Connection.js';
import type { Timer } from '../../../core/clock.js';
import { ClosedError, messageOf } from '../../../core/errors.js';
import type { ServerContext } from '../context.js';
import type { LinkMaker } from './LinkMaker.js';
import type { PooledConnection, Sitter } from './PooledConnection.js';
import type { Room } from './Room.js';

export interface SparesHooks {
  readonly maker: LinkMaker;
  readonly room: Room;
  readonly onChange: () => void;
}

/**
 * Started connections of a `bound` server that belong to no session yet: the next key takes one in place of a start.
 * They are kept at `warmSpares` as far as seats are free that nobody waits for, and they are the first to give way.
 * What `startServer` made beyond that number ends when nobody has taken it for `idleTimeoutMs`.
 */
export class WarmConnections {
  readonly #context: ServerContext;
  readonly #hooks: SparesHooks;
  readonly #ready = new Set<PooledConnection>();
  readonly #ending = new Set<Promise<void>>();
  readonly #starting = new Set<Promise<unknown>>();
  #control = new AbortController();
  #idle: Timer | undefined;
  #failed = false;

  constructor(context: ServerContext, hooks: SparesHooks) {
    this.#context = context;
    this.#hooks = hooks;
  }

  get links(): Iterable<PooledConnection> {
    return this.#ready;
  }

  get state(): 'ready' | 'starting' | 'failed' | 'idle' {
    if (this.#ready.size > 0) return 'ready';
    if (this.#starting.size > 0) return 'starting';
    return this.#failed ? 'failed' : 'idle';
  }

  /** They give way before anybody who was ever used. */
  get sitters(): Sitter[] {
    return [...this.#ready].map((link) => ({ link, leave: () => void this.#end(link) }));
  }

  /** One that lives, for a session; another is started in its place. */
  take(): PooledConnection | undefined {
    for (const link of this.#ready) {
      this.#ready.delete(link);
      if (!link.connection.alive) continue;
      this.#hooks.onChange();
      this.fill();
      return link;
    }
    return undefined;
  }

  /** Has one up now. @throws what its start failed with */
  async prove(): Promise<void> {
    if (this.#ready.size === 0) await this.#start(await this.#hooks.room.take('', this.#control.signal));
    this.fill();
    this.#watchIdle();
  }

  /** Starts what is missing and has a seat. A start that fails is tried again when the next one is taken. */
  fill(): void {
    const { options, pool, config } = this.#context;
    while (!this.#control.signal.aborted && this.#ready.size + this.#starting.size < options.warmSpares) {
      const seat = this.#hooks.room.tryTake();
      if (seat === undefined) return;
      this.#start(seat).catch((error: unknown) =>
        pool.logger.warn({ server: config.name, error: messageOf(error) }, 'a spare connection could not be started'),
      );
    }
  }

  /** Ends them all; `fill` and `prove` may be asked again afterwards. */
  async close(): Promise<void> {
    this.#idle?.cancel();
    this.#idle = undefined;
    this.#failed = false;
    const control = this.#control;
    this.#control = new AbortController();
    control.abort(new ClosedError(`server ${this.#context.config.name}`));
    for (const link of this.#ready) void this.#end(link);
    await Promise.allSettled([...this.#starting]);
    const results = await Promise.allSettled([...this.#ending]);
    for (const each of results) if (each.status === 'rejected') throw each.reason;
  }

  async #start(seat: PooledConnection['seat']): Promise<void> {
    const { signal } = this.#control;
    const starting = this.#hooks.maker.make(undefined, seat, signal);
    this.#starting.add(starting);
    this.#hooks.onChange();
    try {
      const link = await starting;
      this.#failed = false;
      link.lastUsedMs = Number.NEGATIVE_INFINITY;
      link.seatedMs = Number.NEGATIVE_INFINITY;
      this.#ready.add(link);
      link.connection.onClose((death) => this.#died(link, death));
      if (signal.aborted) {
        await this.#end(link);
        throw signal.reason;
      }
    } catch (error) {
      seat.release();
      this.#failed = !signal.aborted;
      throw error;
    } finally {
      this.#starting.delete(starting);
      this.#hooks.onChange();
    }
  }

  #died(link: PooledConnection, death: DisconnectReason): void {
    if (!this.#ready.has(link)) return;
    this.#hooks.maker.gone(link, death);
    void this.#end(link);
  }

  #end(link: PooledConnection): Promise<void> {
    this.#ready.delete(link);
    link.leaving = true;
    const told = link.connection.alive;
    const ended = link.connection.close({ graceMs: 0 }).finally(() => {
      link.seat.release();
      this.#ending.delete(ended);
      if (told) this.#hooks.maker.gone(link, { expected: true, why: 'it was a spare' });
    });
    this.#ending.add(ended);
    ended.catch((error: unknown) => this.#context.pool.logger.error({ error }, 'a spare connection did not end'));
    this.#hooks.onChange();
    return ended;
  }

  #watchIdle(): void {
    const { options, pool } = this.#context;
    if (this.#ready.size <= options.warmSpares) return;
    this.#idle?.cancel();
    this.#idle = pool.clock.setTimer(() => {
      while (this.#ready.size > options.warmSpares) {
        const [link] = this.#ready;
        if (link !== undefined) void this.#end(link);
      }
    }, options.idleTimeoutMs);
  }
}
