import { EDGE_BYTES } from './MessageEdges.js';

export const VERSION = String.raw`"jsonrpc"\s*:\s*"2\.0"\s*`;
const KEY = Buffer.from('"jsonrpc"');
const BRACE = Buffer.from('{');
const ANSWER = String.raw`"(?:result|error)"\s*:`;
export const ID = String.raw`"id"\s*:\s*"?(\d{1,15})"?\s*`;
const ID_FIRST = new RegExp(String.raw`^\s*\{\s*(?:${VERSION},\s*)?${ID},\s*(?:${VERSION},\s*)?${ANSWER}`);
export const ANSWER_FIRST = new RegExp(String.raw`^\s*\{\s*(?:${VERSION},\s*)?${ANSWER}`);
export const ID_LAST = new RegExp(String.raw`[}\]"\dle]\s*,\s*(?:${VERSION},\s*)?${ID}(?:,\s*${VERSION})?\}\s*$`);

/**
 * The id of a reply of which only the edges are known: its own, or undefined. It stands right behind the opening brace
 * or right before the closing one; anything between might be the payload's. A request of the server has an id too, of
 * its own counting: only what begins as a reply is one.
 */
export function idAtEdge(head: Buffer, tail: Buffer): number | undefined {
  const start = head.toString('latin1');
  const first = ID_FIRST.exec(start)?.[1];
  if (first !== undefined) return Number(first);
  return ANSWER_FIRST.test(start) ? idAtEnd(tail) : undefined;
}

/** A reply that stands behind other text, and its id. */
export function quotedIn(line: Buffer): { readonly id: number; readonly text: Buffer } | undefined {
  const at = line.indexOf(KEY);
  const start = at < 0 ? -1 : line.lastIndexOf(BRACE, at);
  if (start <= 0 || at - start > EDGE_BYTES) return undefined;
  const text = line.subarray(start);
  const id = idAtEdge(text.subarray(0, EDGE_BYTES), text.subarray(-EDGE_BYTES));
  return id === undefined ? undefined : { id, text };
}

/** The id right before the closing brace. */
export function idAtEnd(tail: Buffer): number | undefined {
  const digits = ID_LAST.exec(tail.toString('latin1'))?.[1];
  return digits === undefined ? undefined : Number(digits);
}
