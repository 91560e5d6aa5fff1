import {
  type BrotliDecompress,
  constants,
  createBrotliDecompress,
  createInflate,
  createUnzip,
  type Unzip,
} from 'node:zlib';
import { ProtocolError, show } from '../../../core/errors.js';
import { headerOf, type RawHeaders } from './responseHeaders.js';

export interface BodyDecoderSink {
  /** False when nothing more is to come until `resume`. */
  onData(chunk: Buffer): boolean;
  onEnd(): void;
  onError(error: Error): void;
  /** The response may go on. */
  onResume(): void;
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
 * whatever is asked. Its output is bounded by who reads it, chunk by chunk.
 */
export class BodyDecoder {
  readonly #stream: Unzip | BrotliDecompress;
  #over = false;

  /** Undefined for an encoding that is not read here. */
  static for(encoding: string, server: string, sink: BodyDecoderSink): BodyDecoder | undefined {
    const flush = { flush: constants.Z_SYNC_FLUSH, finishFlush: constants.Z_SYNC_FLUSH };
    switch (encoding) {
      case 'gzip':
      case 'x-gzip':
        return new BodyDecoder(createUnzip(flush), encoding, server, sink);
      case 'deflate':
        return new BodyDecoder(createInflate(flush), encoding, server, sink);
      case 'br':
        return new BodyDecoder(
          createBrotliDecompress({ flush: constants.BROTLI_OPERATION_FLUSH }),
          encoding,
          server,
          sink,
        );
      default:
        return undefined;
    }
  }

  private constructor(stream: Unzip | BrotliDecompress, encoding: string, server: string, sink: BodyDecoderSink) {
    this.#stream = stream;
    stream.on('data', (chunk: Buffer) => {
      if (!this.#over && !sink.onData(chunk)) stream.pause();
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
    return this.#stream.write(chunk);
  }

  resume(): void {
    this.#stream.resume();
  }

  /** The response has ended. */
  finish(): void {
    this.#stream.end();
  }

  close(): void {
    this.#over = true;
    this.#stream.destroy();
  }
}
