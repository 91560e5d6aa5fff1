import { Cancellation } from '../../core/wait/Cancellation.js';
import type { Reply } from './Reply.js';

/** A request of a session, from its coming to its answer. `id`: its key, by which its client may cancel it. */
export class SessionCall extends Cancellation {
  readonly id: string;
  readonly reply: Reply;

  constructor(id: string, reply: Reply) {
    super();
    this.id = id;
    this.reply = reply;
  }
}
