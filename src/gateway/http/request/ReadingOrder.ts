import type { IncomingHttpHeaders } from 'node:http';
import { inTurnOrNow, isTurnSpent } from '../../../core/time/turns.js';
import { LARGE_BODY_CHARS, type LargeBody } from '../../rpc/LargeBody.js';
import {
  CALL_BYTES,
  type ReadMessages,
  readLargeMessages,
  readMessages,
  type Unreadable,
} from '../../rpc/readMessages.js';
import type { HeldBytes } from '../HeldBytes.js';

/** What is shorter is read in the turn in which it came, and not counted. */
const SMALL_BODY_CHARS = 1_024;

type Read = ReadMessages | Unreadable | undefined;

/**
 * The messages of a session are understood in the order in which their bodies became whole: a large one is read in turns of the event loop, so are others
 * once many have come in one, and a cancellation that came behind must find its call.
 */
export class ReadingOrder {
  readonly #held: HeldBytes;
  /** Of sessions with a large body that is being read: what was taken last. */
  readonly #last = new Map<string, Promise<Read>>();

  constructor(held: HeldBytes) {
    this.#held = held;
  }

  /** The messages of a body of that owner, or why it holds none; undefined when there is no room for it. */
  read(text: string | LargeBody, headers: IncomingHttpHeaders, owner: string): Read | Promise<Read> {
    const id = headers['mcp-session-id'];
    const session = typeof id === 'string' ? id : undefined;
    const before = session === undefined || this.#last.size === 0 ? undefined : this.#last.get(session);
    if (before === undefined && typeof text === 'string') {
      if (text.length < SMALL_BODY_CHARS) return readMessages(text, headers);
      if (text.length < LARGE_BODY_CHARS && !isTurnSpent()) return inTurnOrNow(() => readMessages(text, headers));
    }
    // It counts as held from here on: those before it may take long, and a client may send many.
    const bytes = CALL_BYTES + 2 * text.length;
    if (!this.#held.takeFor(owner, bytes)) return undefined;
    const reading = this.#after(before, text, headers).finally(() => this.#held.giveBackFor(owner, bytes));
    if (session !== undefined) this.#note(session, reading);
    return reading;
  }

  async #after(
    before: Promise<Read> | undefined,
    text: string | LargeBody,
    headers: IncomingHttpHeaders,
  ): Promise<Read> {
    await before;
    return typeof text === 'string' && text.length < LARGE_BODY_CHARS
      ? inTurnOrNow(() => readMessages(text, headers))
      : readLargeMessages(text, headers);
  }

  #note(session: string, reading: Promise<Read>): void {
    this.#last.set(session, reading);
    const over = (): void => {
      if (this.#last.get(session) === reading) this.#last.delete(session);
    };
    reading.then(over, over);
  }
}
