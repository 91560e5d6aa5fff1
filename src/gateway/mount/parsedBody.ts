import type { IncomingMessage } from 'node:http';
import { strictText, withoutMark } from '../../core/text/strictText.js';

/** What frameworks leave on a request whose body they have read. */
interface WithBody {
  readonly body?: unknown;
  /** As it came: set by many a host, and by `verify` hooks of body parsers. */
  readonly rawBody?: unknown;
  /** Of a web standard request: its body was read in front. */
  readonly bodyUsed?: unknown;
}

export type ParsedBody =
  | { readonly text: string }
  /** It was read by something in front, which left nothing of it. */
  | { readonly lost: true }
  /** Its bytes are no UTF-8. */
  | { readonly foreign: true }
  /** What was parsed of it cannot be written: it is nested too deep. */
  | { readonly deep: true };

/**
 * The body of a request that a framework has read already; undefined where it is still to be read. Text and bytes are taken as they
 * came. What was parsed is written anew, so that numbers are what the parser in front made of them.
 */
export function parsedBody(request: IncomingMessage): ParsedBody | undefined {
  const { body, rawBody, bodyUsed } = request as WithBody;
  const raw = rawOf(rawBody) ?? rawOf(body);
  if (raw !== undefined) return raw;
  if (bodyUsed === true) return { lost: true };
  // An empty one that was read: its end has been.
  if (request.readableEnded && !request.readableDidRead) return { text: '' };
  // A parser that was not concerned leaves the stream as it is, some of them beside an empty object.
  if (!request.readableDidRead) return undefined;
  if (body === undefined || body === null || typeof body === 'function') return { lost: true };
  try {
    return { text: JSON.stringify(body) };
  } catch {
    return { deep: true };
  }
}

function rawOf(given: unknown): ParsedBody | undefined {
  if (typeof given === 'string') return { text: withoutMark(given) };
  if (!(given instanceof Uint8Array)) return undefined;
  const text = strictText(Buffer.from(given.buffer, given.byteOffset, given.byteLength));
  return text === undefined ? { foreign: true } : { text };
}
