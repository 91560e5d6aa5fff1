import type { IncomingMessage } from 'node:http';
import type { RawReply } from '../../connection/channel/codec/envelope.js';
import { LongMessage } from '../../connection/channel/large/LongMessage.js';
import { SseReader } from '../../connection/net/body/events/SseReader.js';
import type { IncomingBytes } from '../../connection/net/body/IncomingBytes.js';
import { WholeBody } from '../../connection/net/body/WholeBody.js';
import type { Clock } from '../../core/clock.js';
import { MessageTooLargeError } from '../../core/errors.js';
import { meaningOf } from './calls/meaningOf.js';

/** What comes in a response. */
export interface ResponseSink {
  /** One message as JSON text, as it came. */
  onMessage(text: string): void;
  /** In place of that, of one that was looked at while it came, since it is long: a reply with a result, which stands at `reply`. */
  onLongReply?(bytes: Buffer, reply: RawReply): void;
  /** The id that a stream is resumed behind. */
  onEventId?(id: string): void;
}

/** Bytes of one message of a gateway. It has bounds of its own, which its operator may raise: this one only ends what has none. */
export const MAX_RESPONSE_BYTES = 256 * 1_024 * 1_024;
/** How long a response may go on behind what is wanted of it, in ms: its connection can be kept when it ends by itself. */
export const LATE_MS = 5_000;
/** Of a body in which nothing is looked for, or an error alone. */
const MAX_BRIEF_BYTES = 1_024 * 1_024;
/** As large as a message of a server may be. */
const OF_ERRORS = Object.freeze({ maxBytes: 64 * 1_024 * 1_024, timeoutMs: 30_000 });

/**
 * Reads a response's messages: one JSON text, or events as they come. Resolves at its end, rejects when it is cut, or when the answers on
 * their way, `incoming`, leave no room for it.
 * @throws MessageTooLargeError
 */
export async function readResponse(
  response: IncomingMessage,
  incoming: IncomingBytes,
  sink: ResponseSink,
  maxBytes = MAX_RESPONSE_BYTES,
): Promise<void> {
  if (!isEventStream(response)) {
    const body = new WholeBody(incoming, sink.onLongReply && PIECEWISE);
    await readWholeBody(response, body, maxBytes);
    handOn(body, sink);
    return;
  }
  let oversized = false;
  const reader = new SseReader(maxBytes, incoming);
  reader.begin({
    onEvent: ({ data, id }) => {
      if (id !== undefined && id !== '') sink.onEventId?.(id);
      if (data !== '') sink.onMessage(data);
    },
    ...(sink.onLongReply && {
      ...PIECEWISE,
      onLongEvent: ({ id }, data) => {
        if (id !== undefined && id !== '') sink.onEventId?.(id);
        handOn(data, sink);
      },
    }),
    onRetry: () => undefined,
    onOversized: () => {
      oversized = true;
    },
  });
  try {
    for await (const chunk of response) {
      reader.push(chunk as Buffer);
      if (oversized) throw tooLarge(maxBytes);
    }
  } finally {
    reader.stop();
  }
}

/** @throws MessageTooLargeError */
export async function textOf(
  response: IncomingMessage,
  incoming: IncomingBytes,
  maxBytes = MAX_RESPONSE_BYTES,
): Promise<string> {
  const body = new WholeBody(incoming);
  await readWholeBody(response, body, maxBytes);
  return body.take().toString('utf8');
}

/** @throws MessageTooLargeError */
async function readWholeBody(response: IncomingMessage, body: WholeBody, maxBytes: number): Promise<void> {
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      const full = body.push(chunk);
      if (body.bytes > maxBytes) throw tooLarge(maxBytes);
      if (full !== undefined) throw full;
    }
  } finally {
    body.landed();
  }
}

/** What is long is looked at piece by piece, as it comes: all at once, 60 MB took half a second of everything else. */
const PIECEWISE = { onLong: (parts: readonly Buffer[]): LongMessage => new LongMessage(parts, true) };

function handOn(body: WholeBody, sink: ResponseSink): void {
  const bytes = body.take();
  if (body.reply && sink.onLongReply !== undefined) {
    sink.onLongReply(bytes, body.reply);
    return;
  }
  const text = bytes.toString('utf8');
  if (text.trim() !== '') sink.onMessage(text);
}

/**
 * The answer to the request of that id, whatever else comes with it: a stream is cut behind it. Rejects when there is none, or with the
 * reason of the request's signal.
 */
export async function answerOf(
  response: IncomingMessage,
  idText: string,
  incoming: IncomingBytes,
  signal: AbortSignal,
): Promise<string> {
  let answer: string | undefined;
  const onMessage = (text: string): void => {
    if (answer !== undefined || meaningOf(text, idText) !== 'answer') return;
    answer = text;
    response.destroy();
  };
  await readResponse(response, incoming, { onMessage }).catch((error: unknown) => {
    if (answer === undefined) throw signal.aborted ? signal.reason : error;
  });
  if (answer === undefined) throw new Error('the response ended without an answer');
  return answer;
}

/**
 * The body of a refusal, or what came of it in `LATE_MS` and within a MiB: of JSON, which may be the error of a server with all its data,
 * more of both. Never rejects.
 */
export async function refusalText(response: IncomingMessage, incoming: IncomingBytes, clock: Clock): Promise<string> {
  const body = new WholeBody(incoming);
  const take = (chunk: Buffer): boolean => body.push(chunk) === undefined;
  await readBriefly(response, clock, { take, ...(isJson(response) ? OF_ERRORS : {}) });
  body.landed();
  return body.take().toString('utf8');
}

export interface BriefOptions {
  /** False: it is enough. */
  readonly take?: (chunk: Buffer) => boolean;
  readonly maxBytes?: number;
  readonly timeoutMs?: number;
}

/** Reads a body within bounds, since each holds a connection. Never rejects. */
export async function readBriefly(response: IncomingMessage, clock: Clock, options: BriefOptions = {}): Promise<void> {
  const { take = () => true, maxBytes = MAX_BRIEF_BYTES, timeoutMs = LATE_MS } = options;
  const late = clock.setTimer(() => response.destroy(), timeoutMs, { ref: false });
  let bytes = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      // What leaves the loop destroys the response.
      if (bytes > maxBytes || !take(chunk)) break;
    }
  } catch {
    // It was cut: what came is what there is.
  } finally {
    late.cancel();
  }
}

const tooLarge = (maxBytes: number): MessageTooLargeError =>
  new MessageTooLargeError('gateway', 'incoming', maxBytes + 1, maxBytes);

export const isEventStream = ({ headers }: IncomingMessage): boolean =>
  /^text\/event-stream\b/i.test(headers['content-type'] ?? '');

const isJson = ({ headers }: IncomingMessage): boolean => /^application\/json\b/i.test(headers['content-type'] ?? '');
