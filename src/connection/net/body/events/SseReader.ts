import { createParser, type EventSourceParser } from 'eventsource-parser';
import { utf8Text } from '../../../../core/text/utf8Text.js';
import { SCAN_BYTES } from '../../../channel/large/LongMessage.js';
import { type Edges, MessageEdges } from '../../../channel/unread/MessageEdges.js';
import type { Incoming } from '../IncomingBytes.js';
import { type LongReader, WholeBody } from '../WholeBody.js';
import { CommentFilter } from './CommentFilter.js';
import { DATA, dataOf, isWhole } from './eventData.js';
import { LongData, splitData } from './LongData.js';
import { SkippedEvent } from './SkippedEvent.js';

/** One event. `data` may be empty: that is no garbage, but how servers hand out an id. */
export interface SseEvent {
  readonly id?: string | undefined;
  readonly event?: string | undefined;
  readonly data: string;
}

export interface SseSink extends LongReader {
  onEvent(event: SseEvent): void;
  /** The server says how long to wait before connecting again, in ms. */
  onRetry(delayMs: number): void;
  /** An event over the cap; nothing more is read. */
  onOversized(): void;
  /** In place of that, on a stream that goes on: an event was passed over, above the cap, or, `why`, with no room for it. The edges are its data's. */
  onSkipped?(edges: Edges, why?: Error): void;
  /** In place of `onEvent`: the event's data is all of `data`. It is not to be kept. */
  onLongEvent?(event: Omit<SseEvent, 'data'>, data: WholeBody): void;
}

const NEWLINE = 0x0a;
const RETURN = 0x0d;
const BLANK_LINE = Buffer.from('\n\n');
/** Data from this size on is kept by itself, as bytes, while it comes; the parser, which makes an event in one turn, gets an empty line in its place. */
const LONG_BYTES = SCAN_BYTES;
/** What stands before the data of a line, and its end: it does not count. */
const FIELD_BYTES = 7;
/** What the parser gets of an event may have so many lines. */
const MAX_LINES = 65_536;
/** And so many bytes, where data can be kept by itself. */
const MAX_PARSED_BYTES = 8 * 1_024 * 1_024;

/**
 * Turns the bytes of an event stream into events, however they are cut: within a character, a line or a line's end.
 * An event that never got its blank line is none. The parser gets whole events only: what it keeps of half an event
 * cannot be bounded from outside. The event that stands open is kept here, as bytes without its comments, which count as on
 * their way; it may have `maxEventBytes`. One reader serves one stream after the other.
 */
export class SseReader implements LongReader {
  readonly #parser: EventSourceParser;
  readonly #maxEventBytes: number;
  readonly #comments = new CommentFilter();
  /** The event that stands open. */
  readonly #held: WholeBody;
  #heldLines = 0;
  readonly #incoming: Incoming;
  /** Its data, where that is long. */
  #long: LongData | undefined;
  /** While an event is passed over. */
  #skipped: SkippedEvent | undefined;
  /** Whether there is one was looked at. */
  #looked = false;
  /** Whose stream it reads; undefined when nothing more is handed on. */
  #sink: SseSink | undefined;
  #first = true;
  /** The last chunk ended in a carriage return, taken for a whole line's end. */
  #afterReturn = false;
  /** A line begins with the next byte. */
  #lineStart = true;
  /** The sink is being called: the parser still stands in its loop. */
  #busy = false;

  constructor(maxEventBytes: number, incoming: Incoming) {
    this.#maxEventBytes = maxEventBytes;
    this.#incoming = incoming;
    this.#held = new WholeBody(incoming, this);
    this.#parser = createParser({
      onEvent: (event) => this.#event(event),
      onRetry: (delayMs) => this.#sink?.onRetry(delayMs),
    });
  }

  get share(): string | undefined {
    return this.#sink?.share;
  }

  /** A stream begins. */
  begin(sink: SseSink): void {
    this.#sink = sink;
    this.#first = true;
    this.#afterReturn = false;
    this.#lineStart = true;
    this.#comments.reset();
  }

  /** @throws Error when there is no room for it among what is on its way. */
  push(chunk: Buffer): void {
    if (this.#sink === undefined) return;
    let bytes = this.#comments.without(this.#withPlainEnds(chunk), this.#lineStart);
    if (this.#long?.open === true && bytes.length > 0) bytes = this.#longPart(bytes, this.#long);
    if (this.#sink === undefined) return;
    if (bytes.length > 0 && this.#skipped !== undefined) bytes = this.#skip(bytes, this.#skipped);
    if (bytes.length === 0) return;
    const end = this.#endOfEvents(bytes);
    this.#lineStart = bytes[bytes.length - 1] === NEWLINE;
    if (end > 0) this.#take(bytes, end);
    if (end < bytes.length) this.#hold(end === 0 ? bytes : bytes.subarray(end));
  }

  /** An event stands there without the blank line that ends it. */
  get open(): boolean {
    return this.pending > 0 && this.#sink !== undefined;
  }

  /** Bytes of the event that stands open. */
  get pending(): number {
    return this.#skipped?.pending ?? this.#held.bytes + (this.#long?.bytes ?? 0);
  }

  /** Ends the event that stands open, if its data is JSON: nothing can be missing of it then. */
  complete(): void {
    if (!this.open) return;
    if (this.#skipped !== undefined) {
      if (this.#skipped.open) this.#endSkipped(this.#skipped);
      return;
    }
    const text = utf8Text(this.#held.join());
    if (!(this.#long === undefined ? isWhole(dataOf(text)) : this.#long.whole || isWhole(this.#long.join()))) return;
    this.#forgetHeld();
    this.#lineStart = true;
    this.#feed(text.endsWith('\n') ? `${text}\n` : `${text}\n\n`);
  }

  /** Hands on nothing more. */
  stop(): void {
    this.#sink = undefined;
    this.#forget();
  }

  /** The stream is over; whether another may begin, which not from within a call of its own sink. */
  end(): boolean {
    this.stop();
    if (!this.#busy) this.#parser.reset();
    return !this.#busy;
  }

  /** The same with line feeds for line ends. The format leaves open what a CR is at the end of a chunk: an event must not wait for the next. */
  #withPlainEnds(chunk: Buffer): Buffer {
    let bytes = chunk;
    if (this.#afterReturn && bytes.length > 0) {
      this.#afterReturn = false;
      if (bytes[0] === NEWLINE) bytes = bytes.subarray(1);
    }
    if (!bytes.includes(RETURN)) return bytes;
    this.#afterReturn = bytes[bytes.length - 1] === RETURN;
    return Buffer.from(bytes.toString('latin1').replace(/\r\n?/g, '\n'), 'latin1');
  }

  /** The offset behind the last blank line, 0 where there is none. */
  #endOfEvents(bytes: Buffer): number {
    const blank = bytes.lastIndexOf(BLANK_LINE);
    if (blank >= 0) return blank + BLANK_LINE.length;
    return this.#lineStart && bytes[0] === NEWLINE ? 1 : 0;
  }

  /** What stands behind the end of the event that is passed over. */
  #skip(bytes: Buffer, skipped: SkippedEvent): Buffer {
    const end = skipped.push(bytes, this.#lineStart);
    if (end > 0) this.#endSkipped(skipped);
    else this.#lineStart = bytes[bytes.length - 1] === NEWLINE;
    return bytes.subarray(end > 0 ? end : bytes.length);
  }

  #endSkipped({ data, why }: SkippedEvent): void {
    this.#skipped = undefined;
    this.#lineStart = true;
    this.#sink?.onSkipped?.(data, why);
  }

  /** The first `end` bytes end the event that stands open, and others. */
  #take(bytes: Buffer, end: number): void {
    this.#looked = false;
    if (this.#held.bytes === 0) {
      this.#feed(utf8Text(bytes.subarray(0, end)));
      return;
    }
    const full = this.#held.push(bytes.subarray(0, end));
    // One chunk more than there is room for, and only in this turn, is better than none of its events.
    if (full !== undefined && this.#sink?.onSkipped === undefined) throw full;
    const text = utf8Text(this.#held.take());
    this.#forgetHeld();
    this.#feed(text);
  }

  #hold(bytes: Buffer): void {
    if (this.#sink === undefined) return;
    for (let at = bytes.indexOf(NEWLINE); at >= 0; at = bytes.indexOf(NEWLINE, at + 1)) this.#heldLines++;
    const full = this.#held.push(bytes);
    const parsed = this.#sink.onLongEvent === undefined ? Number.POSITIVE_INFINITY : MAX_PARSED_BYTES;
    if (this.#held.bytes > Math.min(this.#maxHeldBytes, parsed) || this.#heldLines > MAX_LINES) this.#tooMuch();
    else if (full !== undefined) this.#tooMuch(full);
    else if (this.#held.bytes >= LONG_BYTES && !this.#looked) this.#becomeLong();
  }

  /** Its data is long, and goes on: from here on it is kept by itself. */
  #becomeLong(): void {
    const bytes = this.#held.join();
    const split = this.#sink?.onLongEvent && splitData(bytes);
    this.#looked = split !== undefined || bytes.length >= 2 * LONG_BYTES;
    if (split === undefined) return;
    this.#forgetHeld();
    this.#long = new LongData(this.#incoming, this.#sink);
    const full =
      this.#held.push(Buffer.concat([split.beside, Buffer.from(DATA)])) ??
      this.#long.push(split.data) ??
      this.#long.pushLines(split.rest).full;
    if (full) this.#tooMuch(full);
  }

  /** More of it; what stands behind its end. */
  #longPart(bytes: Buffer, long: LongData): Buffer {
    const { rest, full } = long.pushLines(bytes);
    // The rest begins with the end of a line.
    this.#lineStart = rest.length === 0 && bytes[bytes.length - 1] === NEWLINE;
    if (this.pending > this.#maxHeldBytes) this.#tooMuch();
    else if (full !== undefined) this.#tooMuch(full);
    return rest;
  }

  /** Bytes of the event that stands open, at which its data is above `maxEventBytes` for certain. */
  get #maxHeldBytes(): number {
    return this.#maxEventBytes + (this.#heldLines + 2) * FIELD_BYTES;
  }

  #event(event: SseEvent): void {
    const long = this.#long;
    this.#long = undefined;
    // A UTF-16 unit is 3 bytes or fewer.
    const isLarge = event.data.length * 3 > this.#maxEventBytes && Buffer.byteLength(event.data) > this.#maxEventBytes;
    if (isLarge || (long?.bytes ?? 0) > this.#maxEventBytes) {
      if (this.#sink?.onSkipped === undefined) this.#tooMuch();
      else this.#sink.onSkipped(new MessageEdges(long?.parts ?? [Buffer.from(event.data)]));
      if (long?.isTaken === true) long.take();
    } else if (long === undefined) this.#sink?.onEvent(event);
    else if (event.data.trim() === '') this.#sink?.onLongEvent?.(event, long);
    // With more lines of data behind it, one that was taken is no answer: its call gets no end.
    else if (!long.isTaken) this.#sink?.onEvent({ ...event, data: utf8Text(long.take()) + event.data });
    long?.landed();
  }

  #forget(): void {
    this.#looked = false;
    this.#forgetHeld();
    this.#long?.landed();
    this.#long = undefined;
    this.#skipped = undefined;
  }

  #forgetHeld(): void {
    this.#held.clear();
    this.#held.landed();
    this.#heldLines = 0;
  }

  #feed(text: string): void {
    const rest = this.#first && text.startsWith('\ufeff') ? text.slice(1) : text;
    this.#first = false;
    this.#busy = true;
    try {
      this.#parser.feed(rest);
    } finally {
      this.#busy = false;
    }
  }

  /** Of the event that stands open nothing is kept, where its stream goes on but its edges. `full`: why, where it is not above the cap. */
  #tooMuch(full?: Error): void {
    const sink = this.#sink;
    if (sink?.onSkipped !== undefined) {
      const skipped = new SkippedEvent([...this.#held.parts, ...(this.#long?.parts ?? [])], full);
      // One that is taken ends here for its taker.
      if (this.#long?.isTaken === true) this.#long.take();
      this.#forget();
      this.#skipped = skipped;
    } else if (full !== undefined) throw full;
    else {
      this.stop();
      sink?.onOversized();
    }
  }
}
