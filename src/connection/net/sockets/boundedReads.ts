import type { Socket } from 'node:net';
import type { buildConnector } from 'undici';
import type { TurnBudget } from '../../../core/time/turns.js';
import { NoProgress } from './brokenProtocol.js';
import { type Parser, parserOf } from './undici.js';

/** So much may be read in a row that tells nothing: as much as Node's own parser takes of a chunk's extensions. */
const MAX_SILENT_BYTES = 16 * 1024;
/** So much of requests that are answered may wait for a socket to take it: more comes to it with the next one. */
const MAX_UNSENT_BYTES = 64 * 1024;
/** What is read at once and is less costs no more than a small answer does. */
const COUNTED_BYTES = 4 * 1024;

/**
 * A connector whose sockets hand out their buffer's size at a time, however much waits there. undici takes all that waits when a paused
 * response goes on, parses up to the next pause, and puts the rest back. A socket that is emptied reads on at once: what waits would grow
 * in each turn by what came meanwhile, without bound, and all of it would be copied each time. One that keeps its rest does not read.
 *
 * What its parser passes over without a word (a chunk's extensions, zeros before its size, a reason phrase, empty lines, blanks) comes to no
 * handler. It is counted here: in `turns`, beyond which its socket is read in the next turn, and up to 16 KiB in a row, which end it.
 * `all`: so is all that is read, since a peer may bring about as many responses as it likes.
 *
 * A response that is whole before its request was taken is its socket's last: the requests behind it would wait there, too, though each is answered.
 */
export function boundedReads(
  connect: buildConnector.connector,
  turns: TurnBudget,
  all: boolean,
): buildConnector.connector {
  return (options, callback) =>
    connect(options, (...result) => {
      // Undefined or null when it could not connect.
      const socket = result[1] as Socket | null | undefined;
      const reads = socket ? new BoundedReads(socket, turns, all) : undefined;
      callback(...result);
      reads?.watch();
    });
}

class BoundedReads {
  readonly #socket: Socket;
  readonly #turns: TurnBudget;
  readonly #all: boolean;
  #parser: Parser | undefined;
  /** Nothing is read until the next turn, or ever. */
  #held = false;
  #silentBytes = 0;

  constructor(socket: Socket, turns: TurnBudget, all: boolean) {
    this.#socket = socket;
    this.#turns = turns;
    this.#all = all;
    const read = socket.read;
    // More would make the buffer larger, which is how a stream takes the wish for more.
    const maxBytes = socket.readableHighWaterMark;
    socket.read = (bytes) => {
      if (bytes !== undefined) return read.call(socket, bytes);
      if (all && !this.#held && turns.spent) this.#hold();
      return this.#held ? null : read.call(socket, socket.readableLength > maxBytes ? maxBytes : bytes);
    };
  }

  /** undici has given the socket its parser. */
  watch(): void {
    const parser = parserOf(this.#socket);
    if (parser === undefined) return;
    this.#parser = parser;
    const { execute, onMessageComplete } = parser;
    parser.onMessageComplete = () => {
      if (this.#socket.writableLength > MAX_UNSENT_BYTES) parser.shouldKeepAlive = false;
      return onMessageComplete.call(parser);
    };
    parser.execute = (chunk) => {
      const { headers } = parser;
      const before = parser.headersSize + parser.bytesRead;
      const startMs = chunk.length < COUNTED_BYTES && !this.#all ? undefined : performance.now();
      execute.call(parser, chunk);
      const told = parser.headers === headers ? parser.headersSize + parser.bytesRead - before : chunk.length;
      this.#silentBytes = told > 0 ? 0 : this.#silentBytes + chunk.length;
      if (this.#silentBytes > MAX_SILENT_BYTES) this.#refuse();
      // What pauses it is counted by who reads the body.
      else if (startMs !== undefined && (this.#all || told < chunk.length / 2) && !parser.paused) {
        this.#turns.spend(this.#all ? chunk.length : chunk.length - told, 0, startMs);
        if (this.#turns.spent) this.#hold();
      }
    };
  }

  #hold(): void {
    const parser = this.#parser;
    if (parser === undefined) return;
    this.#held = true;
    this.#turns.inNextTurn(() => {
      if (this.#socket.destroyed) return;
      this.#held = false;
      parser.readMore();
    });
  }

  #refuse(): void {
    this.#held = true;
    this.#socket.destroy(new NoProgress(`${this.#silentBytes} bytes of it in a row are neither header nor body`));
  }
}
