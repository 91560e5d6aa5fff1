import type { Logger } from '../../../core/logger.js';
import { RingQueue } from '../../../core/wait/RingQueue.js';
import { LARGE_REPLY_CHARS } from '../../channel/ServerRequests.js';
import type { Endpoint } from '../Endpoint.js';
import type { PlainAnswer } from '../PlainExchange.js';
import { Cancellations } from './Cancellations.js';
import { type Send, Sends } from './Sends.js';

/** What one request under way holds beside its text. */
const REQUEST_BYTES = 2_048;

export interface PendingRepliesOptions {
  readonly server: string;
  readonly logger: Logger;
  /** Bytes, as held, of small replies that the server has not accepted, and of large ones. */
  readonly maxBytes: number;
  /** Small ones that are on their way at once. */
  readonly maxSending: number;
  /** There were more. */
  readonly onOverflow: (why: string) => void;
}

/**
 * Our replies to a server's requests, and cancellations, on their way. A server that asks without end and takes no answer
 * must not fill our memory: beyond the bound its connection ends. Cancellations and large replies do not count to it: callers cause those.
 */
export class PendingReplies {
  readonly #options: PendingRepliesOptions;
  readonly #cancellations: Cancellations;
  readonly #waiting = new RingQueue<Send>();
  readonly #sends: Sends;
  #bytes = 0;
  #largeBytes = 0;

  constructor(options: PendingRepliesOptions) {
    this.#options = options;
    const { server, logger, maxSending } = options;
    this.#sends = new Sends(maxSending, () => this.#waiting.shift());
    this.#cancellations = new Cancellations(() =>
      logger.warn({ server }, 'a cancellation is not sent: the server takes them too slowly'),
    );
  }

  /** Those to a server by its URL. */
  static to(endpoint: Endpoint, logger: Logger, onOverflow: (why: string) => void): PendingReplies {
    const { server, bounds, maxReplySockets } = endpoint;
    return new PendingReplies({
      server,
      logger,
      onOverflow,
      maxBytes: bounds.maxReplyBytes,
      maxSending: maxReplySockets,
    });
  }

  /** False: it is large, and there is no room now. */
  send(text: string, submit: () => Promise<Pick<PlainAnswer, 'status'>>): boolean {
    const { maxBytes, onOverflow } = this.#options;
    const bytes = text.length + REQUEST_BYTES;
    if (text.length > LARGE_REPLY_CHARS) {
      if (this.#largeBytes > 0 && this.#largeBytes + bytes > maxBytes) return false;
      this.#largeBytes += bytes;
      void this.#told(submit()).then(() => {
        this.#largeBytes -= bytes;
      });
      return true;
    }
    if (this.#bytes + bytes > maxBytes) {
      onOverflow(`it takes none of our replies: ${this.#bytes} bytes of them wait, ${maxBytes} allowed`);
      return true;
    }
    this.#bytes += bytes;
    this.#waiting.push(() =>
      this.#told(submit()).then(() => {
        this.#bytes -= bytes;
      }),
    );
    this.#sends.next();
    return true;
  }

  /** `submit` is called when its turn comes; it gives undefined when there is nothing to cancel any more. */
  cancel(caller: object | undefined, submit: () => Promise<PlainAnswer> | undefined): void {
    this.#cancellations.send(caller, () => {
      const answer = submit();
      return answer === undefined ? undefined : this.#told(answer);
    });
  }

  /** Resolves when it is settled. */
  #told(answer: Promise<Pick<PlainAnswer, 'status'>>): Promise<void> {
    const { server, logger } = this.#options;
    return answer.then(
      ({ status }) => {
        if (status >= 300) logger.warn({ server, status }, 'the server refused a reply or notification');
      },
      (error: unknown) => logger.warn({ server, error }, 'a reply or notification did not reach the server'),
    );
  }
}
