import type { DisconnectReason } from './Connection.js';
import { methodNotFound } from './channel/ServerRequests.js';
import type { RequestHandler, ServerNotice } from './protocol/messages.js';

/** What a connection tells its pool, whatever its wire: its death, once, and the traffic that belongs to no call. */
export class ConnectionEvents {
  readonly #server: string;
  readonly #deathListeners = new Set<(death: DisconnectReason) => void>();
  readonly #noticeListeners = new Set<(notice: ServerNotice) => void>();
  #requestHandler: RequestHandler | undefined;
  #death: DisconnectReason | undefined;

  constructor(server: string) {
    this.#server = server;
  }

  get death(): DisconnectReason | undefined {
    return this.#death;
  }

  /** Notes how it ended; false when it had ended before. The listeners are told by `tellDeath`, when calls are failed. */
  die(death: DisconnectReason): boolean {
    if (this.#death !== undefined) return false;
    this.#death = death;
    return true;
  }

  tellDeath(): void {
    const listeners = [...this.#deathListeners];
    this.#deathListeners.clear();
    for (const listener of listeners) if (this.#death !== undefined) listener(this.#death);
  }

  onClose(listener: (death: DisconnectReason) => void): Disposable {
    if (this.#death !== undefined) listener(this.#death);
    else this.#deathListeners.add(listener);
    return { [Symbol.dispose]: () => void this.#deathListeners.delete(listener) };
  }

  onNotification(listener: (notice: ServerNotice) => void): Disposable {
    this.#noticeListeners.add(listener);
    return { [Symbol.dispose]: () => void this.#noticeListeners.delete(listener) };
  }

  readonly notify = (notice: ServerNotice): void => {
    for (const listener of [...this.#noticeListeners]) listener(notice);
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

  /** Nobody is told anything any more. */
  clear(): void {
    this.#noticeListeners.clear();
  }
}
