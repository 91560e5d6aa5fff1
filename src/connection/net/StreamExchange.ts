import { MessageTooLargeError } from '../../core/errors.js';
import type { LongMessage } from '../channel/large/LongMessage.js';
import type { Edges } from '../channel/unread/MessageEdges.js';
import type { BodyUse } from './body/BodyUse.js';
import type { SseEvent } from './body/events/SseReader.js';
import { mediaTypeOf, type RawHeaders } from './body/responseHeaders.js';
import type { WholeBody } from './body/WholeBody.js';
import type { Endpoint } from './Endpoint.js';
import { Exchange } from './Exchange.js';

export interface StreamListener {
  onOpen(): void;
  onEvent(event: SseEvent): void;
  /** An event was passed over, since it is too large: `error` is what its call fails with. Of its data the edges are known. */
  onSkipped(edges: Edges, error: Error): void;
  /** An event has become long: how it is read, where not as a whole. */
  onLong?(parts: readonly Buffer[]): LongMessage | undefined;
  /** In place of `onEvent`, of one that is read so. It is not to be kept. */
  onLongEvent?(event: Omit<SseEvent, 'data'>, data: WholeBody): void;
  onRetry(delayMs: number): void;
  /** It was refused (`status`, with what was read of its body) or is over; `error` says why, when something broke. */
  onEnd(end: StreamEnd): void;
}

export interface StreamEnd {
  /** 0 when there was no response. */
  readonly status: number;
  /** It was an event stream. */
  readonly streamed: boolean;
  readonly headers: RawHeaders;
  readonly body: Buffer;
  readonly error: Error | undefined;
}

/** A GET whose answer is an event stream that stays open. */
export class StreamExchange extends Exchange {
  readonly #listener: StreamListener;
  #streamed = false;

  constructor(endpoint: Endpoint, headers: string[], listener: StreamListener) {
    super(endpoint, 'streams', 'GET', null);
    this.requestHeaders = headers;
    this.#listener = listener;
    this.dispatch();
  }

  protected override onSending(): boolean {
    return true;
  }

  protected override onBegin(): BodyUse {
    if (this.status >= 300 || mediaTypeOf(this.responseHeaders) !== 'events') return 'excerpt';
    this.#streamed = true;
    this.#listener.onOpen();
    return 'events';
  }

  override onEvent(event: SseEvent): void {
    this.#listener.onEvent(event);
  }

  override onLong(parts: readonly Buffer[]): LongMessage | undefined {
    return this.#listener.onLong?.(parts);
  }

  override onLongEvent(event: Omit<SseEvent, 'data'>, data: WholeBody): void {
    if (this.#listener.onLongEvent === undefined) super.onLongEvent(event, data);
    else this.#listener.onLongEvent(event, data);
  }

  /** It goes on behind one that is too large, with what is others'. */
  onSkipped(edges: Edges, why?: Error): void {
    const {
      server,
      bounds: { maxEventBytes },
    } = this.endpoint;
    this.#listener.onSkipped(edges, new MessageTooLargeError(server, 'incoming', edges.bytes, maxEventBytes, why));
  }

  override onRetry(delayMs: number): void {
    this.#listener.onRetry(delayMs);
  }

  protected override onBody(body: Buffer): void {
    this.#end(undefined, body);
  }

  protected override onStreamEnd(error: Error | undefined): void {
    this.#end(error);
  }

  protected override onFailed(error: Error): void {
    this.#end(error);
  }

  #end(error: Error | undefined, body: Buffer = Buffer.alloc(0)): void {
    this.#listener.onEnd({
      status: this.status,
      streamed: this.#streamed,
      headers: this.responseHeaders,
      body,
      error,
    });
  }
}
