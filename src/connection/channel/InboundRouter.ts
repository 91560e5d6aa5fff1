import { tellListener } from '../../core/events.js';
import type { Logger } from '../../core/logger.js';
import type { Connection } from '../Connection.js';
import type { RequestHandler, ServerNotice } from '../protocol/messages.js';
import { methodNotFound } from './ServerRequests.js';

/** A user of an exclusive connection that takes what comes on it. */
export interface Listener {
  readonly onNotification?: ((notice: ServerNotice) => void) | undefined;
  readonly onRequest?: RequestHandler | undefined;
}

export interface TrafficOptions {
  readonly logger: Logger;
  /** Whether all that comes belongs to the present user of the connection: `leased` and `bound`. */
  readonly exclusive: boolean;
  /** Everything that comes, for the server's subscriptions. */
  readonly onAny: (notice: ServerNotice) => void;
  /** What has no owner. */
  readonly orphan: Listener;
}

/** Where the unattributed traffic of one connection goes: to those who hold it, else to the pool's events. */
export class InboundRouter {
  readonly #listeners = new Set<Listener>();
  readonly #options: TrafficOptions;

  constructor(connection: Connection, options: TrafficOptions) {
    this.#options = options;
    connection.onNotification((notice) => this.#notified(notice));
    connection.setRequestHandler((request, context) => {
      const handler = this.#handler();
      if (handler === undefined) return Promise.reject(methodNotFound(connection.server, request.method));
      return handler(request, context);
    });
  }

  /** From now until disposed, `listener` takes what comes, if the connection is its alone. */
  listen(listener: Listener): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  #notified(notice: ServerNotice): void {
    this.#options.onAny(notice);
    let taken = false;
    if (this.#options.exclusive) {
      for (const { onNotification } of [...this.#listeners]) {
        if (onNotification === undefined) continue;
        taken = true;
        this.tell(onNotification, notice);
      }
    }
    if (!taken) this.#options.orphan.onNotification?.(notice);
  }

  /** One who throws keeps nothing from the others. */
  tell(listener: (notice: ServerNotice) => void, notice: ServerNotice): void {
    tellListener(listener, notice, (error) =>
      this.#options.logger.error({ error, method: notice.method }, 'a listener for notifications failed'),
    );
  }

  /** The newest of those who answer requests. */
  #handler(): RequestHandler | undefined {
    if (this.#options.exclusive) {
      const own = [...this.#listeners].reverse().find((listener) => listener.onRequest !== undefined);
      if (own?.onRequest !== undefined) return own.onRequest;
    }
    return this.#options.orphan.onRequest;
  }
}
