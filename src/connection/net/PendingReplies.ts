import type { Logger } from '../../core/logger.js';
import type { PlainAnswer } from './PlainExchange.js';

/** What one request under way holds beside its text. */
const REQUEST_BYTES = 2_048;

export interface PendingRepliesOptions {
  readonly server: string;
  readonly logger: Logger;
  /** Bytes, as held, of replies and notifications that the server has not accepted. */
  readonly maxBytes: number;
  /** There were more. */
  readonly onOverflow: (why: string) => void;
}

/**
 * Our replies to a server's requests, and cancellations, on their way. A server that asks without end and takes no answer
 * must not fill our memory: beyond the bound its connection ends.
 */
export class PendingReplies {
  readonly #options: PendingRepliesOptions;
  #bytes = 0;

  constructor(options: PendingRepliesOptions) {
    this.#options = options;
  }

  send(text: string, submit: () => Promise<PlainAnswer>): void {
    const { server, logger, maxBytes, onOverflow } = this.#options;
    const bytes = text.length + REQUEST_BYTES;
    if (this.#bytes + bytes > maxBytes) {
      onOverflow(`it takes none of our replies: ${this.#bytes} bytes of them wait, ${maxBytes} allowed`);
      return;
    }
    this.#bytes += bytes;
    submit()
      .then(
        ({ status }) => {
          if (status >= 300) logger.warn({ server, status }, 'the server refused a reply or notification');
        },
        (error: unknown) => logger.warn({ server, error }, 'a reply or notification did not reach the server'),
      )
      .finally(() => {
        this.#bytes -= bytes;
      });
  }
}
