import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import type { ReadableStreamDefaultReader } from 'node:stream/web';
import { inTurn } from '../../core/time/turns.js';

/** Pieces of one body that are read in one turn of the event loop: a stream that is always ready would leave it to no one. */
const READS_PER_TURN = 64;

/** What a web standard `Request` is to code that reads a node:http request. */
export class FetchRequest extends Readable {
  readonly method: string;
  /** Path and query; all of it where the header names another host, so that both are looked at. */
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  /** `Headers` has joined what came several times, so that there is nothing to tell apart. */
  readonly rawHeaders: readonly string[] = [];
  readonly httpVersionMajor = 2;
  /** Not a socket, but all that is asked of one. */
  readonly socket: { readonly remoteAddress: string | undefined; destroyed: boolean };
  /** Something in front has read it. */
  readonly bodyUsed: boolean;
  readonly #body: ReadableStream<Uint8Array> | null;
  #reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  #reads = 0;

  constructor(request: Request, address: string | undefined) {
    super({ highWaterMark: 0 });
    const { protocol, host, hostname, pathname, search } = new URL(request.url);
    this.method = request.method;
    // Hosts that route by the URL alone leave the header out.
    this.headers = { host, ...Object.fromEntries(request.headers) };
    const path = pathname + search;
    this.url = nameOf(this.headers.host) === hostname ? path : `${protocol}//${host}${path}`;
    this.socket = { remoteAddress: address, destroyed: false };
    this.bodyUsed = request.bodyUsed;
    this.#body = request.bodyUsed ? null : request.body;
    // A body that breaks off is a client that went away: its reader is told by `close`.
    this.on('error', () => undefined);
  }

  /** As the gateway's code takes it. */
  get incoming(): IncomingMessage {
    return this as unknown as IncomingMessage;
  }

  override _read(): void {
    if (this.#body === null) {
      this.push(null);
      return;
    }
    this.#reader ??= this.#body.getReader() as ReadableStreamDefaultReader<Uint8Array>;
    if (++this.#reads % READS_PER_TURN > 0) this.#readFrom(this.#reader);
    else void inTurn(() => this.#readFrom(this.#reader));
  }

  #readFrom(reader: ReadableStreamDefaultReader<Uint8Array> | undefined): void {
    if (this.destroyed) return;
    reader
      ?.read()
      .then(({ done, value }) => this.push(done ? null : value))
      // Bytes whose memory was handed on cannot be pushed.
      .catch((error: unknown) => this.destroy(error as Error));
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    // One that was read to its end is destroyed by itself: its client is there.
    if (!this.readableEnded) this.socket.destroyed = true;
    this.#reader?.cancel(error ?? undefined).catch(() => undefined);
    callback(error);
  }
}

/** As a URL would have it, so that a default port or capitals make no difference. */
function nameOf(header: string | undefined): string | undefined {
  const url = `http://${header}`;
  return URL.canParse(url) ? new URL(url).hostname : undefined;
}
