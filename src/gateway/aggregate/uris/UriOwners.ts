import type { Downstream } from '../../endpoint/Endpoint.js';

/** URIs of which a session, or all that share one, know whose they are. */
const MAX_OWNED = 100_000;

/**
 * Whose a URI is that several servers may offer. Once clients were shown it as one server's, it stays that server's: the same URI
 * never leads elsewhere because a server is down for a while. What a `bound` server offers a session is known to that one alone.
 */
export class UriOwners {
  readonly #shared = new Map<string, string>();
  readonly #own = new WeakMap<Downstream, Map<string, string>>();

  get(uri: string, session: Downstream): string | undefined {
    return this.#own.get(session)?.get(uri) ?? this.#shared.get(uri);
  }

  set(uri: string, server: string, session: Downstream, shared: boolean): void {
    const own = this.#own.get(session);
    const owners = shared ? this.#shared : (own ?? new Map<string, string>());
    if (!shared && own === undefined) this.#own.set(session, owners);
    // The longest known goes first.
    owners.delete(uri);
    owners.set(uri, server);
    const [oldest] = owners.keys();
    if (owners.size > MAX_OWNED && oldest !== undefined) owners.delete(oldest);
    if (shared) own?.delete(uri);
  }

  /** A server is not there any more. */
  forget(server: string): void {
    for (const [uri, owner] of this.#shared) if (owner === server) this.#shared.delete(uri);
  }
}
