import type { IncomingMessage } from 'node:http';
import { createParser } from 'eventsource-parser';

/** What comes in a response. */
export interface ResponseSink {
  /** One message as JSON text, as it came. */
  onMessage(text: string): void;
  /** The id that a stream is resumed behind. */
  onEventId?(id: string): void;
}

/** Reads a response's messages: one JSON text, or events as they come. Resolves at its end, rejects when it is cut. */
export async function readResponse(response: IncomingMessage, sink: ResponseSink): Promise<void> {
  response.setEncoding('utf8');
  if (!isEventStream(response)) {
    const text = await textOf(response);
    if (text.trim() !== '') sink.onMessage(text);
    return;
  }
  const parser = createParser({
    onEvent: ({ data, id }) => {
      if (id !== undefined && id !== '') sink.onEventId?.(id);
      if (data !== '') sink.onMessage(data);
    },
  });
  for await (const chunk of response) parser.feed(chunk as string);
}

export async function textOf(response: IncomingMessage): Promise<string> {
  const parts: string[] = [];
  for await (const chunk of response.setEncoding('utf8')) parts.push(chunk as string);
  return parts.join('');
}

export const isEventStream = ({ headers }: IncomingMessage): boolean =>
  /^text\/event-stream\b/i.test(headers['content-type'] ?? '');
