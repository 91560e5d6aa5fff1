import type { Connection } from '../../connection/Connection.js';
import type { Closeable, CloseOptions } from '../../core/close/CloseScope.js';
import { tellListener } from '../../core/events.js';
import { checkAtOnce } from '../../core/options.js';
import { settleAll } from '../../core/wait/settleAll.js';
import type { ConfiguredTransport, Connector, ConnectRequest } from './Connector.js';

/**
 * Several connectors as one: each config goes to the first that takes its transport. It closes those it owns. The lent ones
 * are a user's own: one that fails at a kill keeps none of the others from theirs, and `close` tells of it.
 */
export class ByTransport implements Connector {
  readonly transports: readonly ConfiguredTransport[];
  readonly #byTransport = new Map<ConfiguredTransport, Connector>();
  readonly #owned: readonly Closeable[];
  readonly #notKilled: unknown[] = [];

  /** `lent`: connectors that are used before the `owned` ones and are not closed with this one. */
  constructor(lent: readonly Connector[], owned: readonly Connector[]) {
    for (const connector of [...lent, ...owned]) {
      for (const transport of connector.transports) {
        if (!this.#byTransport.has(transport)) this.#byTransport.set(transport, connector);
      }
    }
    this.transports = [...this.#byTransport.keys()];
    this.#owned = owned;
  }

  attributes(transport: ConfiguredTransport): boolean {
    return checkAtOnce('connectors.attributes', this.#of(transport).attributes(transport));
  }

  connect(request: ConnectRequest): Promise<Connection> {
    return this.#of(request.config.transport).connect(request);
  }

  kill(): void {
    for (const each of new Set(this.#byTransport.values())) {
      tellListener(
        () => each.kill?.(),
        undefined,
        (error) => this.#notKilled.push(error),
      );
    }
  }

  memoryBytes(connection: Connection): number | undefined {
    for (const connector of new Set(this.#byTransport.values())) {
      const bytes = checkAtOnce('connectors.memoryBytes', connector.memoryBytes?.(connection));
      if (bytes !== undefined) return bytes;
    }
    return undefined;
  }

  /** Closes all it owns, whatever fails among them. */
  async close(options?: CloseOptions): Promise<void> {
    const closing = this.#owned.map((connector) => connector.close(options));
    const notKilled = this.#notKilled.splice(0).map((error) => Promise.reject(error));
    await settleAll([...closing, ...notKilled], 'several connectors did not close');
  }

  /** The pool has checked the transport against `transports`. */
  #of(transport: ConfiguredTransport): Connector {
    return this.#byTransport.get(transport) as Connector;
  }
}
