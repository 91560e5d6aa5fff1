import { utf8Text } from '../../../core/text/utf8Text.js';
import { WheelEntry } from '../../../core/time/TimeoutWheel.js';
import type { RawReply } from '../../channel/codec/envelope.js';
import type { LongMessage } from '../../channel/large/LongMessage.js';
import type { BodyUse } from './BodyUse.js';
import type { SseEvent, SseSink } from './events/SseReader.js';
import type { WholeBody } from './WholeBody.js';

/** What each kind of exchange makes of its response. */
export abstract class ResponseReader extends WheelEntry implements SseSink {
  /** See `Lingerer`. */
  heldBytes = 0;

  /** Of its caller; undefined: of no one in particular. */
  get share(): string | undefined {
    return undefined;
  }

  /** Ends it without a word. */
  abstract end(): void;
  /** An event over its cap; nothing more is read. */
  abstract onOversized(): void;
  /** Right before the first byte goes out; false gives the request up. */
  protected abstract onSending(): boolean;
  /** Status and headers are there: says what to do with the body. */
  protected abstract onBegin(): BodyUse;
  /** The response ended; its body, or what was kept of it, and what it is where that was looked at. */
  protected abstract onBody(body: Buffer, reply?: RawReply | null): void;
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

  onLongEvent(event: Omit<SseEvent, 'data'>, data: WholeBody): void {
    this.onEvent({ ...event, data: utf8Text(data.take()) });
  }

  /** A body, or an event, has become long: how it is read, where not as a whole. */
  onLong(_parts: readonly Buffer[]): LongMessage | undefined {
    return undefined;
  }

  onEvent(_event: SseEvent): void {
    this.end();
  }

  onRetry(_delayMs: number): void {
    this.end();
  }
}
