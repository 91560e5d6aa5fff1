import type { IncomingHttpHeaders } from 'node:http';
import { isModern } from '../modern/checkRequest.js';
import { classify, type Incoming, written } from './envelope.js';
import { light } from './light.js';

/** Bytes that values may take for each byte of their JSON: 16 measured with `[[],[],...]` on Node 20. */
const PARSED_RATIO = 16;

/** What a body says. */
export interface ReadMessages {
  readonly messages: readonly Incoming[];
  /** Whether they came in an array. */
  readonly batch: boolean;
  readonly modern: boolean;
  /** Bytes that it takes for as long as its calls wait: its text, what is sent on, and what is kept as values. */
  readonly heldBytes: number;
}

/** The messages of one body; undefined when it is not JSON. */
export function readMessages(text: string, headers: IncomingHttpHeaders): ReadMessages | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return undefined;
  }
  const modern = isModern(headers, parsed);
  if (Array.isArray(parsed)) return held(parsed.map(classify), true, modern, text.length, text.length);
  const message = written(classify(parsed), text);
  if (message.kind === 'invalid' || message.kind === 'response') return held([message], false, modern, text.length, 0);
  const { params, paramsText } = message;
  if (params === undefined) return held([message], false, modern, text.length, 0);
  const kept = paramsText === undefined ? undefined : light(params, paramsText);
  if (kept === undefined) return held([message], false, modern, text.length, text.length);
  return held([{ ...message, params: kept.params }], false, modern, text.length, kept.parsedBytes);
}

function held(
  messages: readonly Incoming[],
  batch: boolean,
  modern: boolean,
  bytes: number,
  parsedBytes: number,
): ReadMessages {
  return { messages, batch, modern, heldBytes: 2 * bytes + PARSED_RATIO * parsedBytes };
}
