import type { PoolEvents } from '../pool/McpPool.js';
import type { AggregateEndpoint } from './endpoint/AggregateEndpoint.js';
import type { GatewayPool } from './GatewayOptions.js';
import type { Callers } from './session/Callers.js';
import type { SessionTable } from './session/SessionTable.js';

export interface PoolRelayOptions {
  readonly pool: GatewayPool;
  readonly callers: Callers;
  readonly sessions: SessionTable;
  readonly aggregate: AggregateEndpoint;
}

/** Brings what servers say by themselves to the sessions it is for, until disposed. */
export class PoolRelay implements Disposable {
  readonly #callers: Callers;
  readonly #sessions: SessionTable;
  readonly #aggregate: AggregateEndpoint;
  readonly #subscriptions: readonly Disposable[];

  constructor({ pool, callers, sessions, aggregate }: PoolRelayOptions) {
    this.#callers = callers;
    this.#sessions = sessions;
    this.#aggregate = aggregate;
    this.#subscriptions = [
      pool.on('notification', (event) => this.#relay(event)),
      pool.on('orphanRequest', (event) => this.#ask(event)),
      pool.on('started', ({ server }) => aggregate.onStarted(server)),
      pool.on('state', ({ server }) => {
        if (!pool.hasServer(server)) aggregate.onRemoved(server);
      }),
    ];
  }

  [Symbol.dispose](): void {
    for (const each of this.#subscriptions) each[Symbol.dispose]();
  }

  /** What a bound connection says is for its session alone; a spare one, that no session has yet, speaks to nobody. */
  #relay({ server, key, notice }: PoolEvents['notification']): void {
    if (this.#callers.isBound(server)) {
      const session = key === undefined ? undefined : this.#sessions.byKey(key);
      session?.endpoint.relay(session, server, notice, true);
      return;
    }
    this.#aggregate.onNotice(server, notice);
    for (const session of this.#sessions) session.endpoint.relay(session, server, notice, false);
  }

  /** A server asks its own session's client; unanswered here, the pool says that nobody knows the method. */
  #ask({ server, key, request, signal, respond }: PoolEvents['orphanRequest']): void {
    if (key === undefined || !this.#callers.isBound(server)) return;
    const session = this.#sessions.byKey(key);
    const { method, params } = request;
    if (session?.canBeAsked(method) === true) respond(session.ask({ server, method, params, signal }));
  }
}
