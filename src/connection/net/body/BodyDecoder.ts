import {
  type BrotliDecompress,
  constants,
  createBrotliDecompress,
  createInflate,
  createUnzip,
  type Unzip,
} from 'node:zlib';
import { ProtocolError, show } from '../../../core/errors.js';
import type { Incoming, NoRoomError } from './IncomingBytes.js';
import { headerOf, type RawHeaders } from './responseHeaders.js';
import type { LongReader } from './WholeBody.js';

export interface BodyDecoderSink {
  /** False when nothing more is to come until `resume`. */
  onData(chunk: Buffer): boolean;
  onEnd(): void;
  onError(error: Error): void;
  /** There is no room for what it holds. */
  onFull(error: NoRoomError): void;
  /** The response may go on. */
  onResume(): void;
}

/** Whose response it is, and what it counts to. */
interface Responding {
  readonly server: string;
  readonly incoming: Incoming;
}

/** Of what it has decoded a decoder holds the newest, which later bytes refer to, in bytes: outside of the heap, and up to 100,000 times what came. */
const UNZIP_WINDOW = 32 * 1_024;

/** What the first byte of a stream says of it (RFC 7932, 9.1). */
function brotliWindow(first = 0): number {
  const [high, low] = [(first >> 1) & 7, (first >> 4) & 7];
  if ((first & 1) === 0) return 2 ** 16;
  return 2 ** (high > 0 ? 17 + high : low > 1 ? 8 + low : 17);
}

/** A response's encoding; undefined when it has none. */
export function encodingOf(headers: RawHeaders): string | undefined {
  const value = headerOf(headers, 'content-encoding')?.trim().toLowerCase();
  return value === undefined || value === '' || value === 'identity' ? undefined : value;
}

/** What a response fails with whose `content-encoding` does not help. */
export function wrongEncoding(server: string, encoding: string, what: string, cause?: Error): ProtocolError {
  return new ProtocolError(server, `its response has content-encoding ${show(encoding)}, ${what}`, cause);
}

/**
 * Decodes a body that came compressed although `accept-encoding: identity` was sent: some servers and proxies compress
 * whatever is asked. Its output is bounded by who reads it, chunk by chunk; what it holds itself counts as on its way.
 */
export class BodyDecoder {
  readonly #stream: Unzip | BrotliDecompress;
  readonly #incoming: Incoming;
  readonly #reader: LongReader;
  readonly #sink: BodyDecoderSink;
  #maxHeld: number | undefined;
  #held = 0;
  #share: string | undefined;
  #over = false;

  /** Undefined for an encoding that is not read here. `reader`: whose share it is. */
  static for(encoding: string, of: Responding, reader: LongReader, sink: BodyDecoderSink): BodyDecoder | undefined {
    const flush = { flush: constants.Z_SYNC_FLUSH, finishFlush: constants.Z_SYNC_FLUSH };
    switch (encoding) {
      case 'gzip':
      case 'x-gzip':
        return new BodyDecoder(createUnzip(flush), encoding, of, reader, sink);
      case 'deflate':
        return new BodyDecoder(createInflate(flush), encoding, of, reader, sink);
      case 'br': {
        const brotli = createBrotliDecompress({ flush: constants.BROTLI_OPERATION_FLUSH });
        return new BodyDecoder(brotli, encoding, of, reader, sink);
      }
      default:
        return undefined;
    }
  }

  private constructor(
    stream: Unzip | BrotliDecompress,
    encoding: string,
    { server, incoming }: Responding,
    reader: LongReader,
    sink: BodyDecoderSink,
  ) {
    this.#stream = stream;
    this.#maxHeld = encoding === 'br' ? undefined : UNZIP_WINDOW;
    this.#incoming = incoming;
    this.#reader = reader;
    this.#sink = sink;
    stream.on('data', (chunk: Buffer) => {
      if (this.#over) return;
      const full = this.#hold(chunk.length);
      if (full !== undefined) sink.onFull(full);
      else if (!sink.onData(chunk)) stream.pause();
    });
    stream.on('end', () => {
      if (!this.#over) sink.onEnd();
    });
    stream.on('error', (error) => {
      if (!this.#over) sink.onError(wrongEncoding(server, encoding, 'but is not', error));
    });
    stream.on('drain', () => {
      if (!this.#over) sink.onResume();
    });
  }

  push(chunk: Buffer): boolean {
    if (this.#maxHeld === undefined) {
      this.#maxHeld = brotliWindow(chunk[0]);
      // It fills its window before it gives any of it.
      const full = this.#hold(this.#maxHeld);
      if (full !== undefined) {
        this.#sink.onFull(full);
        return true;
      }
    }
    return this.#stream.write(chunk);
  }

  resume(): void {
    this.#stream.resume();
  }

  /** The response has ended. */
  finish(): void {
    this.#stream.end();
  }

  #hold(bytes: number): NoRoomError | undefined {
    const more = Math.min(bytes, (this.#maxHeld ?? 0) - this.#held);
    if (more === 0) return undefined;
    if (this.#held === 0) this.#share = this.#reader.share;
    this.#held += more;
    return this.#incoming.change(more, this.#share);
  }

  close(): void {
    this.#over = true;
    this.#stream.destroy();
    if (this.#held > 0) this.#incoming.change(-this.#held, this.#share);
    this.#held = 0;
  }
}
