import type { Downstream } from '../../endpoint/Endpoint.js';
import { MAX_URI_LENGTH } from '../../rpc/limits.js';

/** URIs of which a session, or all that share one, know whose they are. */
const MAX_OWNED = 100_000;
/** And so many characters of them: of those that all share, of each session's own, and of what all sessions have of their own. */
const MAX_SHARED_LENGTH = 8 * 1_024 * 1_024;
const MAX_OWN_LENGTH = 2 * 1_024 * 1_024;
const MAX_ALL_LENGTH = 32 * 1_024 * 1_024;
/** What an entry takes beside its text, as characters. */
const ENTRY_LENGTH = 64;

/** When they are too many, the server that has most loses its longest known: none can drive out what another offers. */
class Owners {
  readonly #max: number;
  readonly #owners = new Map<string, string>();
  readonly #byServer = new Map<string, { readonly uris: Set<string>; length: number }>();
  #length = 0;

  constructor(maxLength: number) {
    this.#max = maxLength;
  }

  get length(): number {
    return this.#length;
  }

  get(uri: string): string | undefined {
    return this.#owners.get(uri);
  }

  clear(): void {
    this.#owners.clear();
    this.#byServer.clear();
    this.#length = 0;
  }

  set(uri: string, server: string): void {
    if (uri.length > MAX_URI_LENGTH) return;
    this.delete(uri);
    this.#owners.set(uri, server);
    const own = this.#byServer.get(server) ?? { uris: new Set<string>(), length: 0 };
    this.#byServer.set(server, own);
    own.uris.add(uri);
    own.length += uri.length + ENTRY_LENGTH;
    this.#length += uri.length + ENTRY_LENGTH;
    while (this.#length > this.#max || this.#owners.size > MAX_OWNED) this.#makeRoom();
  }

  delete(uri: string): void {
    const server = this.#owners.get(uri);
    if (server === undefined) return;
    this.#owners.delete(uri);
    this.#length -= uri.length + ENTRY_LENGTH;
    const own = this.#byServer.get(server);
    if (own === undefined) return;
    own.uris.delete(uri);
    own.length -= uri.length + ENTRY_LENGTH;
    if (own.uris.size === 0) this.#byServer.delete(server);
  }

  forget(server: string): void {
    for (const uri of [...(this.#byServer.get(server)?.uris ?? [])]) this.delete(uri);
  }

  /** A tenth at a time: to find the oldest of a set costs what was deleted before it. */
  #makeRoom(): void {
    const richest = [...this.#byServer.values()].reduce((a, b) => (b.length > a.length ? b : a));
    const left = 0.9 * richest.length;
    for (const uri of richest.uris) {
      this.delete(uri);
      if (richest.length <= left) return;
    }
  }
}

/**
 * Whose a URI is that several servers may offer. Once clients were shown it as one server's, it stays that server's: the same URI
 * never leads elsewhere because a server is down for a while. What a `bound` server offers a session is known to that one alone.
 */
export class UriOwners {
  readonly #shared = new Owners(MAX_SHARED_LENGTH);
  readonly #own = new WeakMap<Downstream, Owners>();
  /** Those of sessions; they go with their sessions. */
  readonly #all = new Set<WeakRef<Owners>>();
  /** Characters that came to them since they were counted. */
  #added = 0;

  get(uri: string, session: Downstream): string | undefined {
    return this.#own.get(session)?.get(uri) ?? this.#shared.get(uri);
  }

  set(uri: string, server: string, session: Downstream, shared: boolean): void {
    const own = this.#own.get(session);
    const owners = shared ? this.#shared : (own ?? this.#begin(session));
    const before = owners.length;
    owners.set(uri, server);
    if (shared) own?.delete(uri);
    else this.#added += owners.length - before;
    if (this.#added > MAX_ALL_LENGTH) this.#makeRoom();
  }

  #begin(session: Downstream): Owners {
    const owners = new Owners(MAX_OWN_LENGTH);
    this.#own.set(session, owners);
    this.#all.add(new WeakRef(owners));
    return owners;
  }

  /** The session that has most loses its own: none can drive out what others know. */
  #makeRoom(): void {
    const live: Owners[] = [];
    for (const each of this.#all) {
      const owners = each.deref();
      if (owners === undefined) this.#all.delete(each);
      else live.push(owners);
    }
    live.sort((a, b) => b.length - a.length);
    this.#added = live.reduce((sum, { length }) => sum + length, 0);
    for (const each of live) {
      // Room for some time, so that it is not looked for again at once.
      if (this.#added <= MAX_ALL_LENGTH / 2) return;
      this.#added -= each.length;
      each.clear();
    }
  }

  /** A server is not there any more. */
  forget(server: string): void {
    this.#shared.forget(server);
  }
}
