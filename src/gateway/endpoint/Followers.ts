import { messageOf, OptionError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import type { ServerNotice, Subscription } from '../../pool/McpPool.js';
import type { GatewayPool } from '../GatewayOptions.js';
import type { Callers } from '../session/callers/Callers.js';
import type { Downstream } from './Endpoint.js';

export interface FollowersOptions {
  readonly pool: GatewayPool;
  readonly callers: Callers;
  readonly logger: Logger;
  /** Ends them. */
  readonly signal: AbortSignal;
  /** A list of a server changed: for all who share it, or for that session. */
  readonly onNotice: (server: string, notice: ServerNotice, session: Downstream | undefined) => void;
}

const FILTER = Object.freeze({ toolsListChanged: true, promptsListChanged: true, resourcesListChanged: true });

/** Subscriptions to the changed lists of modern servers, which tell of them in no other way: one per server, or per bound session. */
export class Followers {
  readonly #options: FollowersOptions;
  readonly #shared = new Map<string, Promise<Subscription>>();
  readonly #own = new WeakMap<Downstream, Map<string, Promise<Subscription>>>();

  constructor(options: FollowersOptions) {
    this.#options = options;
  }

  /** From now on what changes on that server is told, if it is of the modern era. */
  follow(server: string, session: Downstream): void {
    const { callers } = this.#options;
    if (callers.eraOf(server, session) !== 'modern') return;
    const own = callers.isBound(server);
    const followed = own ? (this.#own.get(session) ?? new Map()) : this.#shared;
    if (own) this.#own.set(session, followed);
    if (followed.has(server)) return;
    const { logger } = this.#options;
    const subscription = this.#subscribe(server, session, own);
    followed.set(server, subscription);
    subscription
      .then((each) => each.ended)
      .then(
        () => followed.delete(server),
        (error: unknown) => {
          // One that tells of nothing of the kind is not asked again.
          if (error instanceof OptionError) return;
          followed.delete(server);
          logger.warn({ server, error: messageOf(error) }, 'a server does not tell of changed lists');
        },
      );
  }

  async #subscribe(server: string, session: Downstream, own: boolean): Promise<Subscription> {
    const { pool, callers, signal, onNotice } = this.#options;
    const caller = callers.of(server, session);
    return pool.subscribe(server, FILTER, {
      signal: own ? session.signal : signal,
      // What a legacy server in its place says of its lists is told to all anyway.
      onNotification: (notice) => {
        if (callers.eraOf(server, session) !== 'legacy') onNotice(server, notice, own ? session : undefined);
      },
      ...(caller && { caller }),
    });
  }
}
