import type { Writable } from 'node:stream';
import type { Clock } from '../../core/clock.js';
import { QueueFullError } from '../../core/errors.js';
import { RingQueue } from '../../core/wait/RingQueue.js';
import type { Call } from '../channel/Call.js';
import type { Channel } from '../channel/Channel.js';
import { escapedSeparators } from '../channel/codec/encode.js';
import { LARGE_REPLY_CHARS } from '../channel/ServerRequests.js';

export interface StdioWriterOptions {
  readonly server: string;
  readonly clock: Clock;
  readonly channel: Pick<Channel, 'markSent' | 'markWaiting' | 'requeue' | 'failCall'>;
  /** Bytes that may wait for a child that does not read. */
  readonly maxUnsentBytes: number;
  /** More than 4 MiB of small notices, or half of `maxUnsentBytes`, wait: the child asks or is told without end and reads nothing. */
  readonly onNoticesFull?: (why: string) => void;
}

const MAX_NOTICE_BYTES = 4 * 1024 * 1024;
/** What a waiting notice holds beside its text. */
const NOTICE_BYTES = 64;
/** From so many waiting calls on those that were given up are looked for, each time they have doubled: one holds more than its text. */
const LOOK_AT = 256;
/** One batch holds about this many characters, so that a blocked reader holds back calls, not megabytes. */
const BATCH_CHARS = 256 * 1024;

/**
 * Writes lines to a pipe. Lines of one turn of the event loop go out as one write; while a write is outstanding the next lines wait, so a
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
  #noticeBytes = 0;
  #largeNoticeBytes = 0;
  #calls = new RingQueue<Call>();
  #lookAt = LOOK_AT;
  /** Of the calls, so many at the end wait without a bound: they are to go out in this turn. */
  #unbounded = 0;
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

  send(call: Call, message: string): void {
    const text = escapedSeparators(message);
    const { server, channel } = this.#options;
    if (!this.#hasRoom(text)) {
      const waiting = this.#calls.size;
      channel.failCall(
        call,
        new QueueFullError(`input of server ${server} (${this.unsentBytes} bytes unsent)`, waiting, waiting),
      );
      return;
    }
    if (this.#calls.size >= this.#lookAt) this.#forgetSettled();
    call.text = text;
    this.#calls.push(call);
    this.#waitingChars += text.length;
    if (this.#outstandingBytes > 0) channel.markWaiting(call);
    else {
      this.#unbounded++;
      this.#schedule();
    }
  }

  /** Sends a line that belongs to no waiting call, before those that wait. False when there is no room for it. */
  post(message: string): boolean {
    if (this.#closed) return true;
    const text = escapedSeparators(message);
    const isLarge = text.length > LARGE_REPLY_CHARS;
    const noticeBytes = (isLarge ? this.#largeNoticeBytes : this.#noticeBytes) + text.length + NOTICE_BYTES;
    const { maxUnsentBytes, onNoticesFull } = this.#options;
    const maxNoticeBytes = Math.min(MAX_NOTICE_BYTES, maxUnsentBytes / 2);
    const full = noticeBytes > maxNoticeBytes && noticeBytes > text.length + NOTICE_BYTES;
    if (full || !this.#hasRoom(text)) {
      this.#droppedNotices++;
      if (full && !isLarge)
        onNoticesFull?.(`it does not read its input: ${this.#notices.length} replies and notifications wait`);
      return false;
    }
    this.#notices.push(text);
    if (isLarge) this.#largeNoticeBytes = noticeBytes;
    else this.#noticeBytes = noticeBytes;
    this.#waitingChars += text.length;
    if (this.#outstandingBytes === 0) this.#schedule();
    return true;
  }

  /** Nothing more is written. */
  close(): void {
    this.#closed = true;
    this.#notices = [];
    this.#noticeBytes = 0;
    this.#largeNoticeBytes = 0;
    this.#calls.clear();
    this.#waitingChars = 0;
  }

  /** One message is always taken, however large: the cap of a message is not this one's to keep. */
  #hasRoom(text: string): boolean {
    const { maxUnsentBytes } = this.#options;
    if (this.#waitingChars === 0 || this.unsentBytes + text.length <= maxUnsentBytes) return true;
    this.#forgetSettled();
    return this.#waitingChars === 0 || this.unsentBytes + text.length <= maxUnsentBytes;
  }

  /** A call that was given up holds no room. */
  #forgetSettled(): void {
    const left = new RingQueue<Call>();
    for (const call of this.#calls) {
      if (call.phase === 'queued') left.push(call);
      else this.#waitingChars -= call.text.length;
    }
    this.#calls = left;
    this.#lookAt = Math.max(LOOK_AT, 2 * left.size);
    this.#unbounded = Math.min(this.#unbounded, left.size);
  }

  /** Once per turn of the loop, after every socket of it was read: docs/decisions/137-one-write-a-turn.md. */
  #schedule(): void {
    if (this.#scheduled || this.#closed) return;
    this.#scheduled = true;
    setImmediate(this.#flush);
  }

  #writeBatch(): void {
    this.#scheduled = false;
    if (this.#closed || this.#outstandingBytes > 0) return;
    const calls: Call[] = [];
    const batch = this.#takeBatch(calls);
    if (batch === '') return;
    const bytes = Buffer.from(batch, 'utf8');
    this.#outstandingBytes = bytes.length;
    this.#stream.write(bytes, this.#written);
    if (tookNothing(this.#stream, bytes.length)) for (const call of calls) this.#options.channel.requeue(call);
  }

  /** `calls`: those that are in it are added. */
  #takeBatch(calls: Call[]): string {
    const { channel, clock } = this.#options;
    let batch = '';
    for (const text of this.#notices) {
      this.#waitingChars -= text.length;
      batch += `${text}\n`;
    }
    this.#notices = [];
    this.#noticeBytes = 0;
    this.#largeNoticeBytes = 0;
    const nowMs = clock.now();
    for (let call = this.#calls.peek(); call !== undefined && batch.length < BATCH_CHARS; call = this.#calls.peek()) {
      this.#calls.shift();
      const { text } = call;
      call.text = '';
      this.#waitingChars -= text.length;
      if (call.phase !== 'queued') continue;
      channel.markSent(call, nowMs);
      calls.push(call);
      batch += `${text}\n`;
    }
    if (this.#unbounded > 0) this.#bound();
    return batch;
  }

  /** Those of this turn that found no place in its batch wait from now on. */
  #bound(): void {
    let skip = this.#calls.size - this.#unbounded;
    this.#unbounded = 0;
    if (this.#calls.size === 0) return;
    for (const call of this.#calls) if (skip-- <= 0 && call.phase === 'queued') this.#options.channel.markWaiting(call);
  }
}

/** What a system writes to a pipe as a whole or not at all (`PIPE_BUF`; 512 is the least that POSIX asks for). */
const WHOLE_BYTES = process.platform === 'linux' ? 4_096 : 512;

/**
 * Whether not one byte of the write just made was taken. Nothing was outstanding before it, so that the pipe was tried at once, in one system call: an
 * error of that is there when `write` returns. Of what is larger a part may have been taken; what could not be written at once fails later.
 */
function tookNothing({ errored, destroyed }: Writable, bytes: number): boolean {
  return destroyed || (errored !== null && bytes <= WHOLE_BYTES);
}
