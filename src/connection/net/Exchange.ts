import { ProtocolError } from '../../core/errors.js';
import { WheelEntry } from '../../core/time/TimeoutWheel.js';
import type { Endpoint, Outgoing } from './Endpoint.js';
import type { Lane } from './HttpDispatchers.js';
import { headerOf, type RawHeaders } from './responseHeaders.js';
import type { SseEvent, SseReader, SseSink } from './SseReader.js';

/** What is done with a response's body: kept whole, read as events, kept in part for an error's text, or passed over. */
export type BodyUse = 'whole' | 'events' | 'excerpt' | 'skip';

/** Of a body that only serves an error, so much is read. */
const EXCERPT_BYTES = 64 * 1024;
/** A response whose use is over may end by itself within this time, so that its socket can be used again. */
const LINGER_MS = 1_000;
const MAX_REDIRECTS = 3;
const EMPTY = Buffer.alloc(0);
const NO_STRINGS: string[] = [];
const NO_HEADERS: RawHeaders = Object.freeze([]);

/** The server took longer than the exchange's own bounds allow. */
export class ResponseTimeout extends Error {}

/**
 * One HTTP request and its response, as undici's handler: no stream, no signal and no promise of its own. Redirects are
 * followed within the origin when they keep the method (307, 308), at most three times. Each exchange ends once, by
 * one of `onBody`, `onStreamEnd`, `onFailed`, or by `end()`, which tells nobody. It may then be sent again.
 */
export abstract class Exchange extends WheelEntry implements Outgoing, SseSink {
  readonly endpoint: Endpoint;
  place = -1;
  lane: Lane;
  method: 'GET' | 'POST' | 'DELETE';
  path: string;
  requestHeaders: string[] = NO_STRINGS;
  requestBody: string | null;
  /** Longest wait for the response's headers, in ms. */
  headersTimeoutMs: number;
  status = 0;
  responseHeaders: RawHeaders = NO_HEADERS;
  #abort: ((error?: Error) => void) | undefined;
  #over = true;
  #use: BodyUse | undefined;
  /** The first chunk of the body; most have one. */
  #first: Buffer | undefined;
  #more: Buffer[] | undefined;
  #bytes = 0;
  /** Clock ms of the newest chunk. */
  #heardMs = 0;
  #reader: SseReader | undefined;
  #redirects = 0;

  constructor(endpoint: Endpoint, lane: Lane, method: 'GET' | 'POST' | 'DELETE', body: string | null) {
    super();
    this.endpoint = endpoint;
    this.lane = lane;
    this.method = method;
    this.path = endpoint.path;
    this.requestBody = body;
    this.headersTimeoutMs = endpoint.bounds.headersTimeoutMs;
  }

  /** Right before the first byte goes out; false gives the request up. */
  protected abstract onSending(): boolean;
  /** Status and headers are there: says what to do with the body. */
  protected abstract onBegin(): BodyUse;
  /** The response ended; its body, or what was kept of it. */
  protected abstract onBody(body: Buffer): void;
  /** No response, or half a body. A `ProtocolError` is ours; others are the socket's. */
  protected abstract onFailed(error: Error): void;

  /** An event stream ended, `error` when it was cut. Like the next three only for those who read bodies. */
  protected onStreamEnd(_error: Error | undefined): void {
    this.end();
  }

  /** A body or an event over its cap; the exchange is over. */
  protected onTooLarge(_bytes: number, _maxBytes: number): void {
    this.end();
  }

  onEvent(_event: SseEvent): void {
    this.end();
  }

  onRetry(_delayMs: number): void {
    this.end();
  }

  /** Sends it off, or off again. */
  protected dispatch(): void {
    this.#over = false;
    this.#redirects = 0;
    this.#submit();
  }

  /** Ends it without a word; its socket is closed unless the response was whole. */
  end(): void {
    if (this.#over) return;
    this.#finish();
    this.#abort?.();
  }

  giveUp(): void {
    this.end();
  }

  /** Nobody needs the rest: gives it a moment to end by itself. */
  protected linger(): void {
    if (this.#over) return;
    this.endpoint.wheel.add(this, LINGER_MS);
    this.#use = 'skip';
    this.#reader?.stop();
  }

  override onTimeout(): void {
    if (this.#use === 'skip') {
      this.end();
      return;
    }
    const { bodyTimeoutMs } = this.endpoint.bounds;
    const leftMs = this.#use === undefined ? 0 : this.#heardMs + bodyTimeoutMs - this.endpoint.clock.now();
    if (leftMs > 0) {
      this.endpoint.wheel.add(this, leftMs);
      return;
    }
    const error = new ResponseTimeout(
      this.#use === undefined
        ? `no response headers within ${this.headersTimeoutMs} ms`
        : `nothing of the response body within ${bodyTimeoutMs} ms`,
    );
    this.end();
    this.onFailed(error);
  }

  onConnect(abort: (error?: Error) => void): void {
    if (this.#over || !this.onSending()) {
      if (!this.#over) this.#finish();
      abort();
      return;
    }
    this.#abort = abort;
    if (this.headersTimeoutMs !== Number.POSITIVE_INFINITY) this.endpoint.wheel.add(this, this.headersTimeoutMs);
  }

  onHeaders(status: number, headers: Buffer[]): boolean {
    if (this.#over || status < 200) return true;
    this.endpoint.wheel.remove(this);
    this.status = status;
    this.responseHeaders = headers;
    this.#use = redirects(status) ? 'excerpt' : this.onBegin();
    if (this.#over) return true;
    if (this.#use === 'events') this.#reader = this.endpoint.takeReader(this);
    else if (this.#use === 'skip') this.linger();
    else this.#awaitBody();
    return true;
  }

  onData(chunk: Buffer): boolean {
    if (this.#over) return true;
    if (this.#use === 'events') {
      this.#reader?.push(chunk);
      return true;
    }
    if (this.#use === 'skip') return true;
    if (this.#first === undefined) this.#first = chunk;
    else {
      this.#more ??= [this.#first];
      this.#more.push(chunk);
      // The timeout stands since the headers: it is looked at again when it is over.
      this.#heardMs = this.endpoint.clock.now();
    }
    this.#bytes += chunk.length;
    if (this.#use === 'excerpt') {
      if (this.#bytes >= EXCERPT_BYTES) this.#complete(true);
    } else if (this.#bytes > this.endpoint.maxMessageBytes) {
      this.#tooLarge(this.#bytes, this.endpoint.maxMessageBytes);
    }
    return true;
  }

  onComplete(): void {
    if (!this.#over) this.#complete(false);
  }

  onError(error: Error): void {
    if (this.#over) return;
    const use = this.#use;
    this.#finish();
    if (use === 'events') this.onStreamEnd(error);
    else if (use === 'excerpt' && !redirects(this.status)) this.onBody(this.#takeBody());
    else if (use !== 'skip') this.onFailed(error);
  }

  onOversized(): void {
    const { maxEventBytes } = this.endpoint.bounds;
    this.#tooLarge(maxEventBytes + 1, maxEventBytes);
  }

  #submit(): void {
    this.status = 0;
    this.#abort = undefined;
    this.#use = undefined;
    this.#first = undefined;
    this.#more = undefined;
    this.#bytes = 0;
    this.endpoint.dispatch(this);
  }

  #awaitBody(): void {
    const { bodyTimeoutMs } = this.endpoint.bounds;
    if (bodyTimeoutMs === Number.POSITIVE_INFINITY) return;
    this.#heardMs = this.endpoint.clock.now();
    this.endpoint.wheel.add(this, bodyTimeoutMs, this.#heardMs);
  }

  #tooLarge(bytes: number, maxBytes: number): void {
    this.end();
    this.onTooLarge(bytes, maxBytes);
  }

  #complete(cut: boolean): void {
    const use = this.#use;
    if (cut) this.end();
    else this.#finish();
    if (redirects(this.status)) this.#redirected();
    else if (use === 'events') this.onStreamEnd(undefined);
    else if (use !== 'skip') this.onBody(this.#takeBody());
  }

  #takeBody(): Buffer {
    const body = this.#more === undefined ? (this.#first ?? EMPTY) : Buffer.concat(this.#more, this.#bytes);
    this.#first = undefined;
    this.#more = undefined;
    return body;
  }

  #redirected(): void {
    const location = headerOf(this.responseHeaders, 'location');
    const target = location === undefined ? undefined : this.endpoint.resolve(location);
    const follows = (this.status === 307 || this.status === 308) && target?.origin === this.endpoint.origin;
    if (follows && this.#redirects < MAX_REDIRECTS) {
      this.#redirects++;
      this.path = target.pathname + target.search;
      this.#over = false;
      this.#submit();
      return;
    }
    const why =
      target !== undefined && target.origin !== this.endpoint.origin
        ? 'to another origin'
        : follows
          ? 'too often'
          : `with ${this.status}, which does not keep the method`;
    this.onFailed(
      new ProtocolError(this.endpoint.server, `it redirects ${why}; not followed: ${target?.origin ?? location}`),
    );
  }

  #finish(): void {
    this.#over = true;
    this.endpoint.wheel.remove(this);
    this.endpoint.forget(this);
    if (this.#reader !== undefined) {
      this.endpoint.giveReader(this.#reader);
      this.#reader = undefined;
    }
  }
}

function redirects(status: number): boolean {
  return status >= 300 && status < 400;
}
