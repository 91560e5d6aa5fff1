import { keptText } from '../../core/errors.js';
import { Cancellation } from '../../core/wait/Cancellation.js';
import type { Reply } from './Reply.js';

/** Why a call ends that its own client cancelled: no one is left to answer. `why`: the client's own words, if any. */
export class CancelledByClient extends Error {
  constructor(why?: unknown) {
    super(typeof why === 'string' && why !== '' ? keptText(why) : 'cancelled by the client');
  }
}

/** What calls of a server end with; of the gateway's own, where it is not known which they go to. */
export type ReasonOf = (server?: string) => unknown;

/** A request of a session, from its coming to its answer. `id`: its key, by which its client may cancel it. */
export class SessionCall extends Cancellation {
  readonly id: string;
  readonly reply: Reply;
  /** Which one it goes to, once that is known. */
  server: string | undefined;

  constructor(id: string, reply: Reply) {
    super();
    this.id = id;
    this.reply = reply;
    this.server = undefined;
  }
}
