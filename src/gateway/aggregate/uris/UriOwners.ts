import type { Downstream } from '../../endpoint/Endpoint.js';
import { SessionTables } from '../../endpoint/SessionTables.js';
import { MAX_URI_LENGTH } from '../../rpc/limits.js';

/** Characters of URIs whose owners are known: of those that the sessions of a user share, and of each session's own. */
const MAX_SHARED_LENGTH = 8 * 1_024 * 1_024;
const MAX_OWN_LENGTH = 2 * 1_024 * 1_024;
/** The same of all users, and of all sessions, of the process. */
const MAX_ALL_SHARED_LENGTH = 64 * 1_024 * 1_024;
const MAX_ALL_OWN_LENGTH = 32 * 1_024 * 1_024;
/** What an entry takes beside its text, as characters: so many short ones are 100,000 in what all share. */
const ENTRY_LENGTH = 80;

const allShared = new SessionTables({ maxWeight: MAX_SHARED_LENGTH, maxAllWeight: MAX_ALL_SHARED_LENGTH });
const allOwn = new SessionTables({ maxWeight: MAX_OWN_LENGTH, maxAllWeight: MAX_ALL_OWN_LENGTH });

/**
 * Whose a URI is that several servers may offer. Once clients were shown it as one server's, it stays that server's: the same URI
 * never leads elsewhere because a server is down, or taken out. What a `bound` server offers a session is known to that one alone.
 * When they are too many, the server, or the session, that has most loses what it is known for longest; of all users the one that has most.
 */
export class UriOwners {
  /** Each stands for a session. */
  readonly #places = new WeakMap<Downstream, object>();

  get(uri: string, session: Downstream): string | undefined {
    const place = this.#places.get(session);
    return (place && allOwn.serverOf(place, uri)) ?? allShared.serverOf(this, uri);
  }

  set(uri: string, server: string, session: Downstream, shared: boolean): void {
    if (uri.length > MAX_URI_LENGTH) return;
    const length = uri.length + ENTRY_LENGTH;
    if (shared) allShared.set(this, uri, server, length);
    else {
      const place = this.#places.get(session) ?? {};
      this.#places.set(session, place);
      allOwn.set(place, uri, server, length);
    }
  }
}
