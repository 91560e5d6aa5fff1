import { tellListener } from '../core/events.js';
import type { Logger } from '../core/logger.js';
import type { DisconnectReason } from './Connection.js';
import { methodNotFound } from './channel/ServerRequests.js';
import { ListChanges } from './ListChanges.js';
import type { ListPace } from './ListPace.js';
import type { RequestHandler, ServerNotice } from './protocol/messages.js';

/**
 * What a connection tells its pool, whatever its transport: its end, once, and the traffic that belongs to no call. A
 * listener that throws is logged; it disturbs neither the connection nor the other listeners.
 */
export class ConnectionEvents {
  readonly #server: string;
  readonly #logger: Logger;
  readonly #deathListeners = new Set<(death: DisconnectReason) => void>();
  readonly #noticeListeners = new Set<(notice: ServerNotice) => void>();
  readonly #listChanges: ListChanges;
  #requestHandler: RequestHandler | undefined;
  /** How it ended; set by `die`. */
  death: DisconnectReason | undefined;

  constructor(server: string, logger: Logger, pace?: ListPace) {
    this.#server = server;
    this.#logger = logger;
    this.#listChanges = new ListChanges((notice) => this.#deliver(notice), pace);
  }

  /** Notes how it ended; false when it had ended before. The listeners are told by `tellDeath`, when calls are failed. */
  die(death: DisconnectReason): boolean {
    if (this.death !== undefined) return false;
    this.death = death;
    this.#listChanges.close();
    return true;
  }

  tellDeath(): void {
    const listeners = [...this.#deathListeners];
    this.#deathListeners.clear();
    for (const listener of listeners) if (this.death !== undefined) this.#tell(listener, this.death);
  }

  onClose(listener: (death: DisconnectReason) => void): Disposable {
    if (this.death !== undefined) this.#tell(listener, this.death);
    else this.#deathListeners.add(listener);
    return { [Symbol.dispose]: () => void this.#deathListeners.delete(listener) };
  }

  onNotification(listener: (notice: ServerNotice) => void): Disposable {
    this.#noticeListeners.add(listener);
    return { [Symbol.dispose]: () => void this.#noticeListeners.delete(listener) };
  }

  readonly notify = (notice: ServerNotice): void => {
    if (this.death !== undefined || this.#listChanges.admit(notice)) this.#deliver(notice);
  };

  readonly #deliver = (notice: ServerNotice): void => {
    for (const listener of [...this.#noticeListeners]) this.#tell(listener, notice);
  };

  setRequestHandler(handler: RequestHandler | undefined): void {
    this.#requestHandler = handler;
  }

  readonly answer: RequestHandler = (request, context) => {
    if (this.#requestHandler === undefined) {
      return Promise.reject(methodNotFound(this.#server, request.method));
    }
    return this.#requestHandler(request, context);
  };

  /** No listener is told anything any more. */
  clear(): void {
    this.#noticeListeners.clear();
    this.#listChanges.close();
  }

  #tell<T>(listener: (payload: T) => void, payload: T): void {
    tellListener(listener, payload, (error) =>
      this.#logger.error({ server: this.#server, error }, 'a listener of a connection failed'),
    );
  }
}
