import { SharedTable } from '../../../concurrent/SharedTable.js';
import type { Downstream } from '../../endpoint/Endpoint.js';
import { SessionTables } from '../../endpoint/SessionTables.js';
import { MAX_URI_LENGTH } from '../../rpc/limits.js';

/** Characters of URIs whose owners are known: of those that all share, of each session's own, and of what all sessions have of their own. */
const MAX_SHARED_LENGTH = 8 * 1_024 * 1_024;
const MAX_OWN_LENGTH = 2 * 1_024 * 1_024;
const MAX_ALL_LENGTH = 32 * 1_024 * 1_024;
/** What an entry takes beside its text, as characters: so many short ones are 100,000 in what all share. */
const ENTRY_LENGTH = 80;

/**
 * Whose a URI is that several servers may offer. Once clients were shown it as one server's, it stays that server's: the same URI
 * never leads elsewhere because a server is down for a while. What a `bound` server offers a session is known to that one alone.
 * When they are too many, the server, or the session, that has most loses what it is known for longest.
 */
export class UriOwners {
  readonly #shared = new SharedTable<string, undefined, string>({ maxWeight: MAX_SHARED_LENGTH });
  readonly #own = new SessionTables({ maxWeight: MAX_OWN_LENGTH, maxAllWeight: MAX_ALL_LENGTH });

  get(uri: string, session: Downstream): string | undefined {
    return this.#own.serverOf(session, uri) ?? this.#shared.ownerOf(uri);
  }

  set(uri: string, server: string, session: Downstream, shared: boolean): void {
    if (shared) this.#own.delete(session, uri);
    if (uri.length > MAX_URI_LENGTH) return;
    const length = uri.length + ENTRY_LENGTH;
    if (shared) this.#shared.set(uri, undefined, server, length);
    else this.#own.set(session, uri, server, length);
  }

  /** A server is not there any more. */
  forget(server: string): void {
    this.#shared.forget(server);
  }
}
