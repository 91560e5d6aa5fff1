import type { Writable } from 'node:stream';
import type { Clock } from '../../core/clock.js';
import { QueueFullError } from '../../core/errors.js';
import type { Call } from '../Call.js';
import type { Channel } from '../Channel.js';

export interface StdioWriterOptions {
  readonly server: string;
  readonly clock: Clock;
  readonly channel: Pick<Channel, 'markSent' | 'markWaiting' | 'failCall'>;
  /** Bytes that may wait for a child that does not read. */
  readonly maxUnsentBytes: number;
}

/** One batch holds about this many characters at the most, so that a blocked reader holds back calls, not megabytes. */
const BATCH_CHARS = 256 * 1024;

/**
 * Writes lines to a pipe. Lines of one tick go out as one write; while a write is outstanding the next lines wait, so a
 * call that is given up meanwhile is never sent. Notices (cancellations, replies) go ahead of waiting calls. What the
 * child does not take is bounded: beyond it calls are refused with `ERR_QUEUE_FULL` and notices are dropped and counted.
 */
export class StdioWriter {
  readonly #stream: Writable;
  readonly #options: StdioWriterOptions;
  readonly #flush = (): void => this.#writeBatch();
  readonly #written = (error?: Error | null): void => {
    this.#outstandingBytes = 0;
    // An error is the stream's own event too; its owner ends the connection there.
    if (error === undefined || error === null) this.#writeBatch();
  };
  #notices: string[] = [];
  #calls: { readonly call: Call; readonly text: string }[] = [];
  /** Calls before this index were taken or given up. */
  #taken = 0;
  #scheduled = false;
  #outstandingBytes = 0;
  #waitingChars = 0;
  #droppedNotices = 0;
  #closed = false;

  constructor(stream: Writable, options: StdioWriterOptions) {
    this.#stream = stream;
    this.#options = options;
  }

  /** Bytes that the child has not taken; for what is not encoded yet, characters. */
  get unsentBytes(): number {
    return this.#outstandingBytes + this.#waitingChars;
  }

  /** Notices that found the buffer full. */
  get droppedNotices(): number {
    return this.#droppedNotices;
  }

  send(call: Call, text: string): void {
    const { server, channel, maxUnsentBytes } = this.#options;
    if (this.#waitingChars > 0 && this.unsentBytes + text.length > maxUnsentBytes) {
      const waiting = this.#calls.length - this.#taken;
      channel.failCall(
        call,
        new QueueFullError(`input of server ${server} (${this.unsentBytes} bytes unsent)`, waiting, waiting),
      );
      return;
    }
    this.#calls.push({ call, text });
    this.#waitingChars += text.length;
    if (this.#outstandingBytes > 0) channel.markWaiting(call);
    else this.#schedule();
  }

  /** Sends a line that belongs to no waiting call, before those that wait. */
  post(text: string): void {
    if (this.#closed) return;
    if (this.#waitingChars > 0 && this.unsentBytes + text.length > this.#options.maxUnsentBytes) {
      this.#droppedNotices++;
      return;
    }
    this.#notices.push(text);
    this.#waitingChars += text.length;
    if (this.#outstandingBytes === 0) this.#schedule();
  }

  /** Nothing more is written. */
  close(): void {
    this.#closed = true;
    this.#notices = [];
    this.#calls = [];
    this.#taken = 0;
    this.#waitingChars = 0;
  }

  /** After the callers that this turn's answers woke have made their next calls: ticks run when microtasks are done. */
  #schedule(): void {
    if (this.#scheduled || this.#closed) return;
    this.#scheduled = true;
    process.nextTick(this.#flush);
  }

  #writeBatch(): void {
    this.#scheduled = false;
    if (this.#closed || this.#outstandingBytes > 0) return;
    const batch = this.#takeBatch();
    if (batch === '') return;
    const bytes = Buffer.from(batch, 'utf8');
    this.#outstandingBytes = bytes.length;
    this.#stream.write(bytes, this.#written);
  }

  #takeBatch(): string {
    const { channel, clock } = this.#options;
    let batch = '';
    for (const text of this.#notices) {
      this.#waitingChars -= text.length;
      batch += `${text}\n`;
    }
    this.#notices = [];
    const nowMs = clock.now();
    while (this.#taken < this.#calls.length && batch.length < BATCH_CHARS) {
      const { call, text } = this.#calls[this.#taken++] as { call: Call; text: string };
      this.#waitingChars -= text.length;
      if (call.phase !== 'queued') continue;
      channel.markSent(call, nowMs);
      batch += `${text}\n`;
    }
    if (this.#taken === this.#calls.length) {
      this.#calls = [];
      this.#taken = 0;
      this.#waitingChars = 0;
    }
    return batch;
  }
}
