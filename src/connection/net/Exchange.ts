import { BodyDecoder, encodingOf, wrongEncoding } from './body/BodyDecoder.js';
import { BodyFlow } from './body/BodyFlow.js';
import type { BodyUse } from './body/BodyUse.js';
import { EventBody } from './body/events/EventBody.js';
import { InterimResponses } from './body/InterimResponses.js';
import { ResponseReader } from './body/ResponseReader.js';
import type { RawHeaders } from './body/responseHeaders.js';
import { unreadable } from './body/statusError.js';
import { unmarked, WholeBody } from './body/WholeBody.js';
import type { Endpoint, Outgoing } from './Endpoint.js';
import { ResponseTimeout } from './ResponseTimeout.js';
import { redirectPath, redirects } from './redirects.js';
import { ownWords } from './sockets/brokenProtocol.js';
import type { Lane } from './sockets/HttpDispatchers.js';

/** Of a body that only serves an error, so much is read, and so long: a status tells without it, too. */
const EXCERPT = Object.freeze({ bytes: 64 * 1024, ms: 2_000 });
/** An event that stands open is taken for whole when nothing followed it for so long. */
const OPEN_EVENT_MS = 250;
/** And longer, by a millisecond for so many of its bytes. */
const OPEN_EVENT_BYTES_PER_MS = 1_024;
const NO_STRINGS: string[] = [];
const NO_HEADERS: RawHeaders = Object.freeze([]);

/**
 * One HTTP request and its response, as undici's handler: no stream, no signal and no promise of its own. Redirects are
 * followed within the origin when they keep the method (307, 308), at most three times. Each exchange ends once, by
 * one of `onBody`, `onStreamEnd`, `onFailed`, or by `end()`, which calls none of them. It may then be sent again.
 */
export abstract class Exchange extends ResponseReader implements Outgoing {
  readonly endpoint: Endpoint;
  place = -1;
  connecting: Outgoing['connecting'];
  lane: Lane;
  method: 'GET' | 'POST' | 'DELETE';
  path: string;
  requestHeaders: string[] = NO_STRINGS;
  requestBody: string | null;
  /** Longest wait for the response's headers, in ms. */
  headersTimeoutMs: number;
  status = 0;
  responseHeaders: RawHeaders = NO_HEADERS;
  /** Whether its body is read: made for those that may have to wait for their readers. */
  #flow: BodyFlow | undefined;
  #resume: (() => void) | undefined;
  #abort: ((error?: Error) => void) | undefined;
  #over = true;
  #use: BodyUse | undefined;
  readonly #body: WholeBody;
  /** Clock ms of the newest chunk. */
  #heardMs = 0;
  #interim: InterimResponses | undefined;
  #events: EventBody | undefined;
  #decoder: BodyDecoder | undefined;
  #redirects = 0;

  constructor(endpoint: Endpoint, lane: Lane, method: 'GET' | 'POST' | 'DELETE', body: string | null) {
    super();
    this.endpoint = endpoint;
    this.#body = new WholeBody(endpoint.incoming, this);
    this.lane = lane;
    this.method = method;
    this.path = endpoint.path;
    this.requestBody = body;
    this.headersTimeoutMs = endpoint.bounds.headersTimeoutMs;
  }

  protected get flow(): BodyFlow {
    this.#flow ??= new BodyFlow(this.endpoint.flows, () => {
      if (this.#decoder === undefined) this.#resume?.();
      else this.#decoder.resume();
    });
    return this.#flow;
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

  /** Nothing more of it is wanted: gives it a moment to end by itself. */
  linger(): void {
    if (this.#over || this.heldBytes > 0) return;
    this.#use = 'skip';
    this.#events?.stop();
    this.endpoint.lingering.add(this);
  }

  override onTimeout(): void {
    if (this.#use === 'skip') this.end();
    else if (this.#use === 'excerpt') this.#guarded(() => this.#complete(undefined, true));
    else if (this.#use !== 'events' || this.#guarded(() => this.#events?.complete())) this.#late();
  }

  #late(): void {
    const { bodyTimeoutMs } = this.endpoint.bounds;
    if (this.#flow?.paused === true) this.#heardMs = this.endpoint.clock.now();
    const leftMs = this.#use === undefined ? 0 : this.#heardMs + bodyTimeoutMs - this.endpoint.clock.now();
    if (leftMs > 0) this.endpoint.wheel.add(this, leftMs);
    else {
      const nothing = this.#use === undefined ? 'no response headers' : 'nothing of the response body';
      const waitedMs = this.#use === undefined ? this.headersTimeoutMs : bodyTimeoutMs;
      this.#refuse(new ResponseTimeout(`${nothing} within ${waitedMs} ms`));
    }
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

  onHeaders(status: number, headers: Buffer[], resume: () => void): boolean {
    if (this.#over) return true;
    if (status >= 200) return this.#guarded(() => this.#begin(status, headers, resume)) ?? true;
    this.#interim ??= new InterimResponses();
    const many = this.#interim.add(this.endpoint.clock);
    if (many !== undefined) this.#broke(many);
    return true;
  }

  #begin(status: number, headers: Buffer[], resume: () => void): boolean {
    if (this.heldBytes > 0) return true;
    this.endpoint.wheel.remove(this);
    this.status = status;
    this.responseHeaders = headers;
    this.#resume = resume;
    this.#use = redirects(status) ? 'excerpt' : this.onBegin();
    if (this.#over) return true;
    const encoding = this.#use === 'skip' ? undefined : encodingOf(headers);
    if (encoding !== undefined && !this.#decode(encoding, resume)) return true;
    if (this.#use === 'events') {
      // They are a view of all that came with them, and a stream may stay open for ever.
      this.responseHeaders = NO_HEADERS;
      this.#events = new EventBody(this.endpoint, this, this.flow, (error) => this.#broke(error));
    } else if (this.#use === 'skip') this.linger();
    else {
      this.#heardMs = this.endpoint.clock.now();
      const limitMs = this.#use === 'excerpt' ? EXCERPT.ms : this.endpoint.bounds.bodyTimeoutMs;
      this.endpoint.wheel.add(this, limitMs, this.#heardMs);
    }
    return true;
  }

  /** Bytes of the body, or of the event, that is on its way. */
  get arrivedBytes(): number {
    return this.#use === 'events' ? (this.#events?.pending ?? 0) : this.#body.bytes;
  }

  onData(chunk: Buffer): boolean {
    if (this.#over || this.#use === 'skip') return true;
    try {
      return this.#decoder === undefined ? this.#data(chunk) : this.#decoder.push(chunk);
    } catch (error) {
      this.#broke(error);
      return true;
    }
  }

  #data(chunk: Buffer): boolean {
    if (this.#use === 'events') {
      const goesOn = this.#events?.push(chunk) ?? true;
      if (this.#events?.open === true) {
        this.#heardMs = this.endpoint.clock.now();
        // A look at all of it: the larger it is, the rarer.
        this.endpoint.wheel.add(this, OPEN_EVENT_MS + this.#events.pending / OPEN_EVENT_BYTES_PER_MS, this.#heardMs);
      }
      return goesOn;
    }
    // The timeout stands since the headers: it is looked at again when it is over.
    if (this.#body.bytes > 0) this.#heardMs = this.endpoint.clock.now();
    const startMs = this.#body.run.add(chunk, this.#body.bytes);
    const full = this.#body.push(this.#body.bytes === 0 ? unmarked(chunk) : chunk);
    const { bytes } = this.#body;
    if (startMs !== undefined && !this.#over) this.flow.spent(this.endpoint.turns, this.#body.run, startMs);
    if (full !== undefined) this.#broke(full);
    else if (this.#use === 'excerpt') {
      if (bytes >= EXCERPT.bytes) this.#complete(undefined, true);
    } else if (bytes > this.endpoint.maxMessageBytes) {
      this.#tooLarge(bytes, this.endpoint.maxMessageBytes);
    }
    return this.#flow?.paused !== true;
  }

  onComplete(): void {
    if (this.#over) return;
    if (this.#decoder !== undefined && this.#use !== 'skip') this.#decoder.finish();
    else this.#guarded(() => this.#complete(undefined));
  }

  onError(error: Error): void {
    if (!this.#over) this.#guarded(() => this.#complete(ownWords(error)));
  }

  onOversized(): void {
    this.#tooLarge(this.endpoint.bounds.maxEventBytes + 1, this.endpoint.bounds.maxEventBytes);
  }

  #submit(): void {
    this.status = 0;
    this.#abort = this.#use = undefined;
    this.#body.clear();
    this.endpoint.dispatch(this);
  }

  #tooLarge(bytes: number, maxBytes: number): void {
    this.end();
    this.onTooLarge(bytes, maxBytes);
  }

  /** The response is over: whole, cut by `error`, or cut by us since no more of it is read. */
  #complete(error: Error | undefined, cut = false): void {
    this.#events?.drain();
    if (this.#over) return;
    const use = this.#use;
    if (cut) this.end();
    else this.#finish();
    const redirected = redirects(this.status);
    if (use === 'events') this.onStreamEnd(error);
    else if (use === 'skip') return;
    else if (error !== undefined && (use !== 'excerpt' || redirected)) this.onFailed(error);
    else if (redirected) this.#redirected();
    else if (use === 'excerpt') this.onBody(this.endpoint.blanked(this.#body.take(), this));
    else this.onBody(this.#body.take(), this.#body.reply);
  }

  #redirected(): void {
    const path = redirectPath(this, this.#redirects++);
    if (path instanceof Error) this.onFailed(path);
    else {
      this.path = path;
      this.#over = false;
      this.#submit();
    }
  }

  #finish(): void {
    this.#over = true;
    this.endpoint.wheel.remove(this);
    this.endpoint.lingering.remove(this);
    this.endpoint.forget(this);
    this.#body.landed();
    this.#flow?.end();
    this.#flow = undefined;
    this.#events?.end();
    this.#events = undefined;
    this.#decoder?.close();
    this.#decoder = undefined;
  }

  /** False, and failed, when the body is in an encoding that is not read here. */
  #decode(encoding: string, resume: () => void): boolean {
    this.#decoder = BodyDecoder.for(encoding, this.endpoint, this, {
      onData: (chunk) => this.#over || (this.#guarded(() => this.#data(chunk)) ?? true),
      onEnd: () => this.#guarded(() => this.#complete(undefined)),
      onError: (error) => this.#refuse(error),
      onFull: (error) => this.#broke(error),
      onResume: resume,
    });
    if (this.#decoder === undefined)
      this.#refuse(wrongEncoding(this.endpoint.server, encoding, 'which was not asked for'));
    return this.#decoder !== undefined;
  }

  /** What throws while a response is read fails its exchange, and nothing else. */
  #guarded<T>(read: () => T): T | undefined {
    try {
      return read();
    } catch (error) {
      this.#broke(error);
      return undefined;
    }
  }

  #broke(error: unknown): void {
    this.#refuse(unreadable(this.endpoint, this.arrivedBytes, error));
  }

  #refuse(error: Error): void {
    this.end();
    this.onFailed(error);
  }
}
