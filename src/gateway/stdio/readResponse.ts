import type { IncomingMessage } from 'node:http';
import { SseReader } from '../../connection/net/body/events/SseReader.js';
import { IncomingBytes } from '../../connection/net/body/IncomingBytes.js';
import { WholeBody } from '../../connection/net/body/WholeBody.js';
import { MessageTooLargeError } from '../../core/errors.js';

/** What comes in a response. */
export interface ResponseSink {
  /** One message as JSON text, as it came. */
  onMessage(text: string): void;
  /** The id that a stream is resumed behind. */
  onEventId?(id: string): void;
}

/** Bytes of one message of a gateway. It has bounds of its own, which its operator may raise: this one only ends what has none. */
export const MAX_RESPONSE_BYTES = 256 * 1_024 * 1_024;

/**
 * Reads a response's messages: one JSON text, or events as they come. Resolves at its end, rejects when it is cut.
 * @throws MessageTooLargeError
 */
export async function readResponse(
  response: IncomingMessage,
  sink: ResponseSink,
  maxBytes = MAX_RESPONSE_BYTES,
): Promise<void> {
  if (!isEventStream(response)) {
    const text = await textOf(response, maxBytes);
    if (text.trim() !== '') sink.onMessage(text);
    return;
  }
  let oversized = false;
  const reader = new SseReader(maxBytes, new IncomingBytes(Number.POSITIVE_INFINITY));
  reader.begin({
    onEvent: ({ data, id }) => {
      if (id !== undefined && id !== '') sink.onEventId?.(id);
      if (data !== '') sink.onMessage(data);
    },
    onRetry: () => undefined,
    onOversized: () => {
      oversized = true;
    },
  });
  for await (const chunk of response) {
    reader.push(chunk as Buffer);
    if (oversized) throw tooLarge(maxBytes);
  }
}

/** @throws MessageTooLargeError */
export async function textOf(response: IncomingMessage, maxBytes = MAX_RESPONSE_BYTES): Promise<string> {
  const body = new WholeBody(new IncomingBytes(Number.POSITIVE_INFINITY));
  for await (const chunk of response as AsyncIterable<Buffer>) {
    body.push(chunk);
    if (body.bytes > maxBytes) throw tooLarge(maxBytes);
  }
  return body.take().toString('utf8');
}

const tooLarge = (maxBytes: number): MessageTooLargeError =>
  new MessageTooLargeError('gateway', 'incoming', maxBytes + 1, maxBytes);

export const isEventStream = ({ headers }: IncomingMessage): boolean =>
  /^text\/event-stream\b/i.test(headers['content-type'] ?? '');
