import { MessageTooLargeError, ProtocolError } from '../../../core/errors.js';
import type { Call } from '../Call.js';
import type { ReplyScan } from '../codec/ReplyScan.js';
import type { ResultSink } from './ResultSink.js';
import { Utf8Pieces } from './Utf8Pieces.js';

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
  readonly #utf8 = new Utf8Pieces();
  #bytes = 0;
  /** Nothing more of it is handed on. */
  #over = false;
  #broken = false;
  /** While its call's time stands still. */
  #goOn: (() => void) | undefined;
  /** It is not read, unless others had it read on, until its reader has room: also when a part comes that was read before. */
  #paused = false;

  /** `scan` has read `parts`, with which it began; in them the result begins at `start`. */
  constructor(call: Call, scan: ReplyScan, start: number, sink: ResultSink, host: LargeReplyHost, flow: Flow) {
    this.#call = call;
    this.#scan = scan;
    this.#start = start;
    this.#sink = sink;
    this.#host = host;
    this.#flow = flow;
  }

  /** Its beginning, which `scan` has read. */
  begin(parts: readonly Buffer[]): void {
    for (const part of parts) this.#take(part);
  }

  push(part: Buffer): void {
    this.#goingOn();
    if (this.#over) return;
    const { server, maxMessageBytes } = this.#host;
    const bytes = this.#bytes + part.length;
    if (bytes > maxMessageBytes) {
      this.#break(new MessageTooLargeError(server, 'incoming', bytes, maxMessageBytes));
      return;
    }
    this.#scan.push(part);
    this.#take(part);
  }

  /** The message is at its end. */
  end(): void {
    this.#goingOn();
    if (this.#broken) return;
    if (this.#settled()) {
      this.#host.onLate(this.#call);
      return;
    }
    this.#over = true;
    const reply = this.#scan.end();
    if (reply === undefined || reply.id !== this.#call.id || reply.start !== this.#start) {
      this.#break(this.#notJson());
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
    if (this.#settled()) return;
    const from = this.#bytes;
    this.#bytes += part.length;
    const { begun } = this.#scan;
    const foreign = begun?.id !== undefined && begun.id !== this.#call.id;
    if (begun === undefined || foreign || begun.start !== this.#start) {
      this.#break(this.#notJson());
      return;
    }
    this.#host.onPart(this.#call);
    const end = begun.end === undefined ? part.length : Math.min(part.length, begun.end - from);
    const piece = this.#utf8.push(part.subarray(Math.max(0, this.#start - from), Math.max(0, end)));
    if (piece.length === 0 || this.#sink.write(piece) || this.#goOn !== undefined) return;
    if (!this.#flow.pause()) return;
    this.#paused = true;
    this.#goOn = this.#host.onFull(this.#call);
  }

  /** Whether its call was given up, or failed: the rest of it is passed over. */
  #settled(): boolean {
    if (this.#call.phase === 'settled') this.#over = true;
    return this.#over;
  }

  #goingOn(): void {
    this.#goOn?.();
    this.#goOn = undefined;
  }

  #break(error: Error): void {
    this.#over = true;
    this.#broken = true;
    this.#host.onBroken(this.#call, error);
  }

  #notJson(): Error {
    return new ProtocolError(this.#host.server, `its answer to ${this.#call.method} is not JSON, or not its answer`);
  }
}
