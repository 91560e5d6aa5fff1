import { messageOf } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import type { Caller, RequestOptions } from '../../pool/McpPool.js';
import type { CallOptions, Downstream } from '../endpoint/Endpoint.js';
import type { GatewayPool } from '../GatewayOptions.js';
import type { Params } from '../rpc/envelope.js';

/**
 * Who a session is to the pool. To a `bound` server it is somebody, with a connection of its own and the capabilities of
 * its client; to the others it is nobody, since they cannot tell whose request comes back.
 */
export class Callers {
  readonly #pool: GatewayPool;
  readonly #logger: Logger;
  /** The `bound` servers that each session has called. */
  readonly #used = new WeakMap<Downstream, Set<string>>();

  /** Calls in flight by server and session. */
  readonly #calling = new Map<string, Map<Downstream, number>>();

  constructor(pool: GatewayPool, logger: Logger) {
    this.#pool = pool;
    this.#logger = logger;
  }

  isBound(server: string): boolean {
    return this.#pool.config(server)?.sharing === 'bound';
  }

  /** Undefined for a server that is not `bound`. */
  of(server: string, session: Downstream): Caller | undefined {
    if (!this.isBound(server)) return undefined;
    const used = this.#used.get(session);
    if (used === undefined) this.#used.set(session, new Set([server]));
    else used.add(server);
    const { key, capabilities } = session;
    return capabilities === undefined ? { key } : { key, capabilities };
  }

  /** A call of a session; while it runs, it counts among the server's callers. */
  async request(
    server: string,
    session: Downstream,
    method: string,
    params: Params | undefined,
    call: CallOptions,
  ): Promise<unknown> {
    const counts = this.#calling.get(server) ?? new Map<Downstream, number>();
    this.#calling.set(server, counts);
    counts.set(session, (counts.get(session) ?? 0) + 1);
    try {
      return await this.#pool.request(server, method, params, this.#options(server, session, call));
    } finally {
      const left = (counts.get(session) ?? 1) - 1;
      if (left > 0) counts.set(session, left);
      else counts.delete(session);
      if (counts.size === 0 && this.#calling.get(server) === counts) this.#calling.delete(server);
    }
  }

  /** The session that alone has calls in flight to the server; undefined when none or several have. */
  soleCaller(server: string): Downstream | undefined {
    const counts = this.#calling.get(server);
    return counts?.size === 1 ? counts.keys().next().value : undefined;
  }

  /**
   * A call's options as the pool takes them. What comes on a connection of its own is the session's whether a call is
   * in flight or not, and with several it belongs to none for sure: it takes the way of the pool's events.
   */
  #options(server: string, session: Downstream, call: CallOptions): RequestOptions {
    const caller = this.of(server, session);
    if (caller === undefined) return { ...call, raw: true };
    const { onNotification: _, ...own } = call;
    return { ...own, raw: true, caller };
  }

  /** Tells the session's own connections what its client said. One that is not up needs not know. */
  notify(session: Downstream, method: string, params: Params | undefined): void {
    for (const server of this.#used.get(session) ?? []) {
      const caller = this.of(server, session);
      if (caller === undefined || this.#pool.info(server, caller) === undefined) continue;
      this.#pool
        .notify(server, method, params, { caller, signal: session.signal })
        .catch((error: unknown) => this.#logger.debug({ server, method, error }, 'a server was not told'));
    }
  }

  /** The session is over: its connections end, at the pool's own pace. */
  release(session: Downstream): void {
    for (const server of this.#used.get(session) ?? []) {
      if (!this.#pool.hasServer(server)) continue;
      this.#pool
        .releaseKey(server, session.key)
        .catch((error: unknown) =>
          this.#logger.warn({ server, error: messageOf(error) }, "a session's connection did not end cleanly"),
        );
    }
    this.#used.delete(session);
  }
}
