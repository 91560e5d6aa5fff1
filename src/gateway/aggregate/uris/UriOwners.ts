import type { Downstream } from '../../endpoint/Endpoint.js';
import { MAX_URI_LENGTH } from '../../rpc/limits.js';

/** URIs of which a session, or all that share one, know whose they are. */
const MAX_OWNED = 100_000;
/** And so many characters of them, which is 16 MiB of those that all share and 2 MiB of each session's own. */
const MAX_SHARED_LENGTH = 8 * 1_024 * 1_024;
const MAX_OWN_LENGTH = 1_024 * 1_024;

/** The longest known goes first. */
class Owners extends Map<string, string> {
  readonly #max: number;
  #length = 0;

  constructor(maxLength: number) {
    super();
    this.#max = maxLength;
  }

  override set(uri: string, server: string): this {
    if (uri.length > MAX_URI_LENGTH) return this;
    this.delete(uri);
    super.set(uri, server);
    this.#length += uri.length;
    for (const oldest of this.keys()) {
      if (this.#length <= this.#max && this.size <= MAX_OWNED) break;
      this.delete(oldest);
    }
    return this;
  }

  override delete(uri: string): boolean {
    const known = super.delete(uri);
    if (known) this.#length -= uri.length;
    return known;
  }
}

/**
 * Whose a URI is that several servers may offer. Once clients were shown it as one server's, it stays that server's: the same URI
 * never leads elsewhere because a server is down for a while. What a `bound` server offers a session is known to that one alone.
 */
export class UriOwners {
  readonly #shared = new Owners(MAX_SHARED_LENGTH);
  readonly #own = new WeakMap<Downstream, Owners>();

  get(uri: string, session: Downstream): string | undefined {
    return this.#own.get(session)?.get(uri) ?? this.#shared.get(uri);
  }

  set(uri: string, server: string, session: Downstream, shared: boolean): void {
    const own = this.#own.get(session);
    const owners = shared ? this.#shared : (own ?? new Owners(MAX_OWN_LENGTH));
    if (!shared && own === undefined) this.#own.set(session, owners);
    owners.set(uri, server);
    if (shared) own?.delete(uri);
  }

  /** A server is not there any more. */
  forget(server: string): void {
    for (const [uri, owner] of this.#shared) if (owner === server) this.#shared.delete(uri);
  }
}
