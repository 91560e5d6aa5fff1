import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { Writable } from 'node:stream';

/** Of one connection, which is the host's own business (RFC 9110, 7.6.1). */
const OF_THE_CONNECTION: ReadonlySet<string> = new Set(['connection', 'keep-alive', 'transfer-encoding']);
/** Statuses that come without a body (Fetch standard, null body status). */
const WITHOUT_BODY: ReadonlySet<number> = new Set([101, 103, 204, 205, 304]);

/** What servers log for a client that closed its request. */
const GONE = 499;
/** A larger body goes through the stream, so that it counts as held until its reader has taken it. */
const MAX_WHOLE_BYTES = 64 * 1_024;

type Done = (error?: Error | null) => void;

/**
 * What a web standard `Response` is to code that writes a node:http response. `response` resolves with the head: with the whole
 * body where that is written in one piece, else with a stream that a reader pulls from, one chunk at a time.
 */
export class FetchResponse extends Writable {
  statusCode = 200;
  readonly req: IncomingMessage;
  /** Resolves once there is a head, or its client has gone, and the status of that reaches no one. Never rejects. */
  readonly response: Promise<Response>;
  readonly #headers = new Map<string, string>();
  #resolve!: (response: Response) => void;
  #sent = false;
  /** Why its client has gone. */
  #left: Error | undefined;
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  /** A chunk that was handed over, and is not asked beyond yet. */
  #taken: Done | undefined;
  #stall: NodeJS.Timeout | undefined;
  #onStall = (): void => undefined;

  constructor(request: IncomingMessage) {
    super({ decodeStrings: true });
    this.req = request;
    this.response = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    this.on('error', () => undefined);
  }

  /** As the gateway's code takes it. */
  get outgoing(): ServerResponse {
    return this as unknown as ServerResponse;
  }

  get headersSent(): boolean {
    return this.#sent;
  }

  setHeader(name: string, value: number | string | readonly string[]): this {
    this.#headers.set(name.toLowerCase(), String(value));
    return this;
  }

  getHeader(name: string): string | undefined {
    return this.#headers.get(name.toLowerCase());
  }

  writeHead(status: number, headers: OutgoingHttpHeaders = {}): this {
    this.statusCode = status;
    for (const [name, value] of Object.entries(headers)) if (value !== undefined) this.setHeader(name, value);
    return this;
  }

  flushHeaders(): void {
    if (this.#sent) return;
    this.#send(
      new ReadableStream<Uint8Array>(
        {
          start: (controller) => {
            this.#controller = controller;
          },
          pull: () => this.#pulled(),
          cancel: () => void this.destroy(),
        },
        { highWaterMark: 0 },
      ),
    );
  }

  /** A reader that asks for nothing more for so long is reported, once; 0 ends that. Without `onStall`, to the one before. */
  setTimeout(ms: number, onStall = this.#onStall): this {
    clearTimeout(this.#stall);
    this.#onStall = onStall;
    this.#stall = ms === 0 ? undefined : setTimeout(onStall, ms).unref();
    return this;
  }

  override end(chunk?: unknown, encoding?: unknown, done?: unknown): this {
    const latin1 = typeof chunk === 'string' && encoding === 'latin1';
    const body = latin1 ? Buffer.from(chunk, 'latin1') : (chunk as string | Uint8Array<ArrayBuffer> | undefined);
    // Parts that were written while it was corked come first.
    const begun = this.#sent || this.writableLength > 0;
    if (begun || this.destroyed || typeof chunk === 'function' || (body?.length ?? 0) > MAX_WHOLE_BYTES) {
      return super.end(chunk, encoding as BufferEncoding, done as () => void);
    }
    // The whole body in one piece needs no stream.
    this.#send(body === undefined || WITHOUT_BODY.has(this.statusCode) ? null : body);
    return super.end();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    this.flushHeaders();
    this.#taken = done;
    this.#controller?.enqueue(chunk);
  }

  override _final(done: Done): void {
    this.#controller?.close();
    done();
  }

  override _destroy(error: Error | null, done: Done): void {
    clearTimeout(this.#stall);
    if (!this.#sent) this.#resolve(new Response(null, { status: GONE }));
    // After a whole body, and after a reader's own cancel, there is no one to tell.
    else if (!this.writableFinished) this.#break(error ?? this.#left ?? new Error('the answer broke off'));
    this.req.destroy();
    done(error);
  }

  /** Its client has gone. A reader that is still there is told that it is not whole, and why. */
  leave(reason: unknown): void {
    this.#left ??= reason instanceof Error ? reason : prematureClose(reason);
    this.destroy();
  }

  #break(reason: Error): void {
    try {
      this.#controller?.error(reason);
    } catch {
      // Closed or cancelled already.
    }
  }

  #pulled(): void {
    this.#stall?.refresh();
    const done = this.#taken;
    this.#taken = undefined;
    done?.();
  }

  #send(body: ConstructorParameters<typeof Response>[0] | null): void {
    this.#sent = true;
    const headers = [...this.#headers].filter(([name]) => !OF_THE_CONNECTION.has(name));
    this.#resolve(new Response(body, { status: this.statusCode, headers }));
  }
}

/** As Node names it, by which hosts tell a client that left from a fault of theirs (@hono/node-server logs others as errors). */
function prematureClose(cause: unknown): Error {
  return Object.assign(new Error('the request was aborted', { cause }), { code: 'ERR_STREAM_PREMATURE_CLOSE' });
}
