import type { Connection, OpenListen } from '../../../connection/Connection.js';
import type { ServerNotice } from '../../../connection/protocol/messages.js';
import { LEAVE_MS, OVER, UriSubscriptions } from '../../../connection/UriSubscriptions.js';
import {
  BackingOffError,
  CircuitOpenError,
  messageOf,
  OptionError,
  RequestTimeoutError,
  RpcError,
} from '../../../core/errors.js';
import { tellListener } from '../../../core/events.js';
import { backoffMs } from '../../../core/time/backoff.js';
import { inTurn, inTurnOrNow } from '../../../core/time/turns.js';
import { within } from '../../../core/time/within.js';
import { Cancellation } from '../../../core/wait/Cancellation.js';
import type { Caller, Subscription, SubscriptionFilter } from '../../McpPool.js';
import type { ServerContext } from '../context.js';
import { agreedFilter, checkOffered } from './subscriptionFilter.js';
import { Watchers } from './Watchers.js';

/** How long an attempt to take subscriptions up again waits after those that failed. */
const AGAIN = Object.freeze({ initialMs: 1_000, maxMs: 30_000, jitterRatio: 0.25 });
/** To ask for more URIs than these is a step that has a turn of the event loop. */
const FEW = 32;

interface Open {
  /** The partition it is of. */
  readonly key: string;
  readonly caller: Caller | undefined;
  readonly filter: SubscriptionFilter;
  readonly onNotification: (notice: ServerNotice) => void;
  /** Where it is subscribed. */
  connection: Connection;
  /** The server's own stream for it, in the modern era. */
  stream: OpenListen | undefined;
  /** Streams in a row that broke, or could not be opened. */
  broken: number;
  /** Aborts when it is over, also before its server has agreed. */
  readonly over: Cancellation;
}

export interface SubscribeRequest {
  readonly caller: Caller | undefined;
  readonly filter: SubscriptionFilter;
  readonly onNotification: (notice: ServerNotice) => void;
  readonly signal: AbortSignal | undefined;
}

/**
 * What callers of one server subscribed to. Legacy: URIs are counted per connection, so that the first asks the server
 * and the last one gives it back; updates go to those subscribed to that URI, and never to another partition.
 * Modern: each is a `subscriptions/listen` of its own. No slot is held; after a reconnect all are taken up again.
 */
export class Subscriptions {
  readonly #context: ServerContext;
  readonly #reach: (caller: Caller | undefined) => Promise<Connection>;
  readonly #open = new Set<Open>();
  /** Those of each partition. */
  readonly #byKey = new Map<string, Set<Open>>();
  readonly #retries = new Map<string, Disposable>();
  readonly #reopenings = new Set<Disposable>();
  /** What each connection was asked for in the legacy era. */
  readonly #uris = new WeakMap<Connection, UriSubscriptions>();
  /** Who is subscribed to what on each connection. */
  readonly #watchers = new WeakMap<Connection, Watchers<Open>>();

  /** `reach`: gets a live connection of that caller's, started if need be. */
  constructor(context: ServerContext, reach: (caller: Caller | undefined) => Promise<Connection>) {
    this.#context = context;
    this.#reach = reach;
  }

  has(key: string): boolean {
    return this.#byKey.has(key);
  }

  /**
   * Subscribes over `connection`, a live one of the partition `key`. @throws what the server answered; OptionError when a
   * modern server's capabilities offer nothing of the filter
   */
  async add(key: string, connection: Connection, request: SubscribeRequest): Promise<Subscription> {
    const { caller, onNotification, signal } = request;
    // A copy: what its caller makes of the filter later changes nothing.
    const { resourceUris } = request.filter;
    const filter = { ...request.filter, ...(resourceUris && { resourceUris: [...resourceUris] }) };
    const over = new Cancellation();
    const ended = new Promise<void>((resolve) => over.join({ onAbort: () => resolve() }));
    const open: Open = { key, caller, filter, onNotification, connection, stream: undefined, broken: 0, over };
    this.#open.add(open);
    this.#watch(open);
    this.#byKey.set(key, (this.#byKey.get(key) ?? new Set()).add(open));
    const { timeoutMs } = this.#context.options;
    const late = (): Error => new RequestTimeoutError(connection.server, 'resources/subscribe', timeoutMs);
    try {
      // Others may wait for the same answer: only the wait is this one's.
      await within(this.#ask(open, connection), { clock: this.#context.pool.clock, timeoutMs, late, signal });
    } catch (error) {
      this.#close(open).catch((failed: unknown) => this.#warn(key, failed));
      throw error;
    }
    const close = async (): Promise<void> => {
      signal?.removeEventListener('abort', onAbort);
      await this.#close(open);
    };
    const onAbort = (): void => void close();
    if (signal?.aborted === true) await close();
    else signal?.addEventListener('abort', onAbort, { once: true });
    const agreed = agreedFilter(filter, open.stream?.filter, open.connection.info.capabilities);
    return { filter: agreed, ended, close, [Symbol.asyncDispose]: close };
  }

  /** A notification that belongs to no call came on `connection`. */
  dispatch(connection: Connection, notice: ServerNotice): void {
    for (const open of this.#watchers.get(connection)?.of(notice) ?? []) {
      if (open.stream !== undefined) continue;
      const { pool, config } = this.#context;
      tellListener(open.onNotification, notice, (error) =>
        pool.logger.error({ error, server: config.name }, 'a subscription listener failed'),
      );
    }
  }

  /** A connection of the partition is up: it is asked for all that was subscribed on those that are gone. */
  resume(key: string, connection: Connection): void {
    void this.#again(this.#cutOff(key), connection, isCutOff);
  }

  /** The connection has a new session, which knows nothing of what the old one was asked. */
  renewed(connection: Connection): void {
    this.#uris.get(connection)?.close();
    this.#uris.delete(connection);
    const ofIt = [...this.#open].filter((open) => open.connection === connection);
    void this.#again(ofIt, connection, (open) => open.connection === connection);
  }

  /** A connection of the partition is gone: a subscriber still waits for its news, so another is made. */
  reconnect(key: string): void {
    const [waiting] = this.#cutOff(key);
    if (waiting === undefined || this.#retries.has(key)) return;
    this.#retry(waiting, 0);
  }

  /** After a restart of the server. */
  reconnectAll(): void {
    for (const key of [...this.#byKey.keys()]) this.reconnect(key);
  }

  /** The connections end, and for the time being no others are made. */
  pause(): void {
    for (const timer of [...this.#retries.values(), ...this.#reopenings]) timer[Symbol.dispose]();
    this.#retries.clear();
    this.#reopenings.clear();
  }

  /** Ends all. */
  close(): void {
    this.pause();
    for (const open of [...this.#open]) this.#forget(open);
  }

  #retry({ key, caller }: Open, delayMs: number): void {
    const timer = this.#context.pool.clock.setTimer(() => {
      if (!this.has(key)) {
        this.#retries.delete(key);
        return;
      }
      const mine = this.#retries.get(key);
      this.#reach(caller).then(
        (connection) => {
          if (this.#retries.get(key) === mine) this.#retries.delete(key);
          this.resume(key, connection);
        },
        (error: unknown) => {
          if (this.#retries.get(key) !== mine) return;
          this.#retries.delete(key);
          this.#warn(key, error);
          const [open] = this.#cutOff(key);
          const waitMs =
            error instanceof CircuitOpenError || error instanceof BackingOffError
              ? error.retryAfterMs
              : AGAIN.initialMs;
          if (open !== undefined) this.#retry(open, Math.max(waitMs, 1));
        },
      );
    }, delayMs);
    this.#retries.set(key, timer);
  }

  /** Takes them up on `connection`, in turns of the event loop: they may be thousands. `still`: whether that is wanted when its turn comes. */
  async #again(opens: readonly Open[], connection: Connection, still: (open: Open) => boolean): Promise<void> {
    for (let at = 0; at < opens.length && connection.alive; at += FEW) {
      await inTurnOrNow(() => {
        for (const open of opens.slice(at, at + FEW)) if (still(open)) this.#move(open, connection);
      });
    }
  }

  #move(open: Open, connection: Connection): void {
    if (!this.#open.has(open)) return;
    this.#watchers.get(open.connection)?.delete(open);
    open.connection = connection;
    this.#watch(open);
    open.stream = undefined;
    this.#ask(open, connection).catch((error: unknown) => {
      if (open.over.aborted) return;
      this.#warn(open.key, error);
      // Refused, or no longer offered: over. Lost with its connection: the next one is asked. Else it may still come.
      if (error instanceof RpcError || error instanceof OptionError) this.#forget(open);
      else if (connection.alive && connection.info.era === 'modern') this.#reopen(open, connection);
    });
  }

  async #ask(open: Open, connection: Connection): Promise<void> {
    const owner = open.caller?.subject ?? open.caller?.principal ?? open.caller?.origin;
    if (connection.listen !== undefined && connection.info.era === 'modern') {
      checkOffered(connection.server, open.filter, connection.info.capabilities);
      const { onNotification, over } = open;
      const stream = await connection.listen({ ...open.filter }, { onNotification, signal: over.signal, owner });
      if (over.aborted) return stream.close();
      open.stream = stream;
      const sinceMs = this.#context.pool.clock.now();
      void stream.ended.then(() => this.#streamEnded(open, stream, connection, sinceMs));
      return;
    }
    const { timeoutMs } = this.#context.options;
    const onError = (error: unknown): void => this.#warn(open.key, error);
    const uris = this.#uris.get(connection) ?? new UriSubscriptions(connection, timeoutMs, onError);
    this.#uris.set(connection, uris);
    const wanted = open.filter.resourceUris ?? [];
    // Its caller may have left when it has its turn.
    const ask = (): Promise<unknown> =>
      Promise.all(this.#open.has(open) ? wanted.map((uri) => uris.ask(uri, owner ?? '')) : []);
    await (wanted.length > FEW ? inTurn(ask) : ask());
  }

  /** By the server: over. By the death of its connection: taken up again on the next. */
  #streamEnded(open: Open, stream: OpenListen, connection: Connection, sinceMs: number): void {
    if (open.stream !== stream) return;
    open.stream = undefined;
    if (!connection.alive) return;
    if (this.#context.pool.clock.now() - sinceMs >= AGAIN.initialMs) open.broken = 0;
    if (stream.endedBy === 'cut') this.#reopen(open, connection);
    else this.#forget(open);
  }

  /** Its stream broke, or could not be opened, and the connection lives. */
  #reopen(open: Open, connection: Connection): void {
    const timer = this.#context.pool.clock.setTimer(
      () => {
        this.#reopenings.delete(timer);
        void this.#again([open], connection, (it) => it.stream === undefined && it.connection === connection);
      },
      backoffMs(++open.broken, AGAIN),
    );
    this.#reopenings.add(timer);
  }

  async #close(open: Open): Promise<void> {
    if (!this.#open.has(open)) return;
    this.#forget(open);
    const { connection, filter, stream } = open;
    if (stream !== undefined) await stream.close();
    const uris = this.#uris.get(connection);
    if (uris === undefined || !connection.alive) return;
    const watchers = this.#watchers.get(connection);
    const last = (filter.resourceUris ?? []).filter((uri) => uris.has(uri) && watchers?.hasUri(uri) !== true);
    const left = Promise.all(last.map((uri) => uris.giveBack(uri)));
    await within(left, { clock: this.#context.pool.clock, timeoutMs: LEAVE_MS }).catch(() => undefined);
  }

  /** Those of a partition whose connection is gone. */
  #cutOff(key: string): readonly Open[] {
    return [...(this.#byKey.get(key) ?? [])].filter(isCutOff);
  }

  #watch(open: Open): void {
    const watchers = this.#watchers.get(open.connection) ?? new Watchers<Open>();
    this.#watchers.set(open.connection, watchers);
    watchers.add(open);
  }

  #forget(open: Open): void {
    if (!this.#open.delete(open)) return;
    this.#watchers.get(open.connection)?.delete(open);
    const { key, over } = open;
    const others = this.#byKey.get(key);
    others?.delete(open);
    if (others?.size === 0) this.#byKey.delete(key);
    over.abort(OVER);
  }

  #warn(key: string, error: unknown): void {
    const { config, pool } = this.#context;
    const said = { server: config.name, caller: key, error: messageOf(error) };
    pool.logger.warn(said, 'a subscription could not be kept up');
  }
}

const isCutOff = ({ connection }: Open): boolean => !connection.alive;
