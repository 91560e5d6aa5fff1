import { MessageTooLargeError, ProtocolError } from '../../../core/errors.js';
import type { Call } from '../Call.js';
import type { ReplyScan } from '../codec/ReplyScan.js';
import type { ResultSink } from './ResultSink.js';
import { Utf8Pieces } from './Utf8Pieces.js';

/** Of garbage so much is looked at again with what follows. */
const EDGE_BYTES = 256;
const NONE: Buffer = Buffer.alloc(0);

/** What a channel does for the large replies that come on it. */
export interface LargeReplyHost {
  readonly server: string;
  /** Bytes of one message. */
  readonly maxMessageBytes: number;
  /** A part of it came: its call goes on. */
  onPart(call: Call): void;
  /** Its reader has enough: the call's time stands still until the function returned is called. */
  onFull(call: Call): () => void;
  /** All of it was taken. */
  onTaken(call: Call, bytes: number, isError: boolean): void;
  /** It ended after its call had been given up. */
  onLate(call: Call): void;
  /** It broke off: what was taken of it is not a result. */
  onBroken(call: Call, error: Error): void;
  /** What came in its place, or behind it, on a line that others may share. */
  onGarbage(bytes: Buffer): void;
}

/** The reading of what a large reply comes on. */
export interface Flow {
  /** Stops it, where that holds up nothing else; false when it goes on. */
  pause(): boolean;
  resume(): void;
}

/** A large reply on its way: its result goes to its call's sink piece by piece, and none of it is kept here. */
export class LargeReply {
  readonly #call: Call;
  readonly #scan: ReplyScan;
  readonly #start: number;
  readonly #sink: ResultSink;
  readonly #host: LargeReplyHost;
  readonly #flow: Flow;
  readonly #shared: boolean;
  readonly #utf8 = new Utf8Pieces();
  #bytes = 0;
  /** The piece that came last, of garbage only its end. */
  #last = NONE;
  /** It is no answer of its call: nothing more of it is handed on. */
  #broken = false;
  /** It may hold messages that are part of its result. */
  #quotes = false;
  /** While its call's time stands still. */
  #goOn: (() => void) | undefined;
  /** It is not read, unless others had it read on, until its reader has room: also when a part comes that was read before. */
  #paused = false;

  /** `scan` has read its beginning; in it the result begins at `start`. `shared`: answers to other calls may stand behind it. */
  constructor(
    call: Call,
    scan: ReplyScan,
    start: number,
    sink: ResultSink,
    host: LargeReplyHost,
    flow: Flow,
    shared: boolean,
  ) {
    this.#call = call;
    this.#scan = scan;
    this.#start = start;
    this.#sink = sink;
    this.#host = host;
    this.#flow = flow;
    this.#shared = shared;
  }

  /** Its beginning, which `scan` has read. */
  begin(parts: readonly Buffer[]): void {
    for (const part of parts) {
      if (!this.#broken) this.#take(part);
    }
  }

  push(part: Buffer): void {
    this.#goingOn();
    if (this.#broken) {
      this.#garbage(part);
      return;
    }
    // Also when its call was given up: it may turn out to be half of its answer, with others behind it.
    this.#scan.push(part);
    this.#take(part);
  }

  /** The message is at its end. */
  end(): void {
    this.#goingOn();
    if (this.#broken) return;
    const reply = this.#scan.end();
    if (reply === undefined || reply.id !== this.#call.id || reply.start !== this.#start) {
      this.#quotes = reply !== undefined;
      this.#break(this.#notJson());
      return;
    }
    if (this.#call.phase === 'settled') {
      this.#host.onLate(this.#call);
      return;
    }
    const rest = this.#utf8.end();
    if (rest.length > 0) this.#sink.write(rest);
    this.#host.onTaken(this.#call, this.#bytes, this.#scan.isError);
  }

  /** The sink has room again. */
  readonly onRoom = (): void => {
    if (!this.#paused) return;
    this.#paused = false;
    this.#goingOn();
    this.#flow.resume();
  };

  #take(part: Buffer): void {
    const { server, maxMessageBytes } = this.#host;
    const from = this.#bytes;
    this.#bytes += part.length;
    this.#last = part;
    const { begun } = this.#scan;
    const foreign = begun?.id !== undefined && begun.id !== this.#call.id;
    if (begun === undefined || foreign || begun.start !== this.#start) {
      // JSON so far, it is another's answer.
      this.#quotes = begun !== undefined;
      this.#break(this.#notJson());
      return;
    }
    if (this.#bytes > maxMessageBytes) {
      // What follows may well be its own: objects in it that look like messages are not.
      this.#quotes = true;
      this.#break(new MessageTooLargeError(server, 'incoming', this.#bytes, maxMessageBytes));
      return;
    }
    if (this.#call.phase === 'settled') return;
    this.#host.onPart(this.#call);
    const end = begun.end === undefined ? part.length : Math.min(part.length, begun.end - from);
    const piece = this.#utf8.push(part.subarray(Math.max(0, this.#start - from), Math.max(0, end)));
    if (piece.length === 0 || this.#sink.write(piece) || this.#goOn !== undefined) return;
    if (!this.#flow.pause()) return;
    this.#paused = true;
    this.#goOn = this.#host.onFull(this.#call);
  }

  #goingOn(): void {
    this.#goOn?.();
    this.#goOn = undefined;
  }

  #break(error: Error): void {
    this.#broken = true;
    if (this.#call.phase === 'settled') this.#host.onLate(this.#call);
    else this.#host.onBroken(this.#call, error);
    const bytes = this.#last;
    this.#last = NONE;
    this.#garbage(bytes);
  }

  #garbage(part: Buffer): void {
    if (!this.#shared || this.#quotes) return;
    const bytes = this.#last.length === 0 ? part : Buffer.concat([this.#last, part]);
    this.#host.onGarbage(bytes);
    // An id may stand across two pieces.
    this.#last = Buffer.from(bytes.subarray(-EDGE_BYTES));
  }

  #notJson(): Error {
    return new ProtocolError(this.#host.server, `its answer to ${this.#call.method} is not JSON, or not its answer`);
  }
}
