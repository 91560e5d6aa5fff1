import type { Downstream } from '../../endpoint/Endpoint.js';
import { MAX_URI_LENGTH } from '../../rpc/limits.js';

/** URIs of which a session, or all that share one, know whose they are. */
const MAX_OWNED = 100_000;
/** And so many characters of them, which is 16 MiB of those that all share and 2 MiB of each session's own. */
const MAX_SHARED_LENGTH = 8 * 1_024 * 1_024;
const MAX_OWN_LENGTH = 1_024 * 1_024;

/** When they are too many, the server that has most loses its longest known: none can drive out what another offers. */
class Owners {
  readonly #max: number;
  readonly #owners = new Map<string, string>();
  readonly #byServer = new Map<string, { readonly uris: Set<string>; length: number }>();
  #length = 0;

  constructor(maxLength: number) {
    this.#max = maxLength;
  }

  get(uri: string): string | undefined {
    return this.#owners.get(uri);
  }

  set(uri: string, server: string): void {
    if (uri.length > MAX_URI_LENGTH) return;
    this.delete(uri);
    this.#owners.set(uri, server);
    const own = this.#byServer.get(server) ?? { uris: new Set<string>(), length: 0 };
    this.#byServer.set(server, own);
    own.uris.add(uri);
    own.length += uri.length;
    this.#length += uri.length;
    while (this.#length > this.#max || this.#owners.size > MAX_OWNED) this.#makeRoom();
  }

  delete(uri: string): void {
    const server = this.#owners.get(uri);
    if (server === undefined) return;
    this.#owners.delete(uri);
    this.#length -= uri.length;
    const own = this.#byServer.get(server);
    if (own === undefined) return;
    own.uris.delete(uri);
    own.length -= uri.length;
    if (own.uris.size === 0) this.#byServer.delete(server);
  }

  forget(server: string): void {
    for (const uri of [...(this.#byServer.get(server)?.uris ?? [])]) this.delete(uri);
  }

  #makeRoom(): void {
    const richest = [...this.#byServer.values()].reduce((a, b) => (b.length > a.length ? b : a));
    const [oldest] = richest.uris;
    if (oldest !== undefined) this.delete(oldest);
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
    this.#shared.forget(server);
  }
}
