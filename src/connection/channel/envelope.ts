import { ProtocolError, RpcError, show } from '../../core/errors.js';
import { ownId } from './ownId.js';

/** JSON-RPC envelopes: read with a few comparisons, on bytes where the result must stay unparsed. */

/** A reply's result in its line, as byte offsets, with its id. */
export interface RawReply {
  readonly id: number;
  readonly start: number;
  readonly end: number;
}

/** Raw results up to this size are copied, so that a few bytes do not hold a whole chunk. */
const COPY_BYTES = 64 * 1024;

/** A part of a chunk, to be kept: copied when it is small. */
export function detached(bytes: Buffer): Buffer {
  return bytes.length <= COPY_BYTES ? Buffer.from(bytes) : bytes;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COLON = 0x3a;
const COMMA = 0x2c;
const OPEN = new Set([0x7b, 0x5b]);
const CLOSE = new Set([0x7d, 0x5d]);

function skipSpace(line: Buffer, from: number): number {
  let at = from;
  for (let byte = line[at]; byte === 0x20 || byte === 0x09 || byte === 0x0a || byte === 0x0d; byte = line[at]) at++;
  return at;
}

/** The offset behind the string that opens at `from`, or -1 when it has no end. */
function skipString(line: Buffer, from: number): number {
  for (let at = line.indexOf(QUOTE, from + 1); at >= 0; at = line.indexOf(QUOTE, at + 1)) {
    let slashes = 0;
    while (line[at - 1 - slashes] === BACKSLASH) slashes++;
    if (slashes % 2 === 0) return at + 1;
  }
  return -1;
}

/** The offset behind the value that begins at `from`, or -1. It trusts the value itself; nothing is parsed. */
function skipValue(line: Buffer, from: number): number {
  const first = line[from] ?? 0;
  if (first === QUOTE) return skipString(line, from);
  let depth = 0;
  for (let at = from; at < line.length; at++) {
    const byte = line[at] as number;
    if (byte === QUOTE) {
      at = skipString(line, at) - 1;
      if (at < 0) return -1;
    } else if (OPEN.has(byte)) depth++;
    else if (CLOSE.has(byte)) {
      if (depth === 0) return at;
      if (--depth === 0) return at + 1;
    } else if (depth === 0 && byte === COMMA) return at;
  }
  return -1;
}

/** Finds id and result of a reply in its line's bytes; undefined when it is no reply with a result. */
export function scanReply(line: Buffer): RawReply | undefined {
  let at = skipSpace(line, 0);
  if (line[at] !== 0x7b) return undefined;
  let id: number | undefined;
  let result: { start: number; end: number } | undefined;
  at = skipSpace(line, at + 1);
  while (line[at] === QUOTE) {
    const keyEnd = skipString(line, at);
    if (keyEnd < 0) return undefined;
    const key = line.toString('latin1', at + 1, keyEnd - 1);
    at = skipSpace(line, keyEnd);
    if (line[at] !== COLON) return undefined;
    const start = skipSpace(line, at + 1);
    const end = skipValue(line, start);
    if (end < 0 || key === 'method' || key === 'error') return undefined;
    if (key === 'id') id = idOf(line.toString('latin1', start, end).trim());
    else if (key === 'result') result = { start, end: trimEnd(line, end) };
    at = skipSpace(line, end);
    if (line[at] === COMMA) at = skipSpace(line, at + 1);
  }
  return id !== undefined && Number.isInteger(id) && result !== undefined ? { id, ...result } : undefined;
}

/** An id's text, which may be our number as a string. */
function idOf(text: string): number | undefined {
  return ownId(/^"[1-9]\d*"$/.test(text) ? text.slice(1, -1) : Number(text));
}

function trimEnd(line: Buffer, end: number): number {
  let at = end;
  for (let byte = line[at - 1]; byte === 0x20 || byte === 0x09; byte = line[at - 1]) at--;
  return at;
}

/** An error reply as the caller gets it: the server's own, if it is one. */
export function replyError(server: string, error: unknown): RpcError | ProtocolError {
  const { code, message, data } = (typeof error === 'object' && error !== null ? error : {}) as Record<string, unknown>;
  return typeof code === 'number' && typeof message === 'string'
    ? new RpcError(server, code, message, data)
    : new ProtocolError(server, `an error reply without code and message: ${show(error)}`);
}

const VERSION = String.raw`"jsonrpc"\s*:\s*"2\.0"\s*`;
const ANSWER = String.raw`"(?:result|error)"\s*:`;
const ID = String.raw`"id"\s*:\s*"?(\d{1,15})"?\s*`;
const ID_FIRST = new RegExp(String.raw`^\s*\{\s*(?:${VERSION},\s*)?${ID},\s*(?:${VERSION},\s*)?${ANSWER}`);
const ANSWER_FIRST = new RegExp(String.raw`^\s*\{\s*(?:${VERSION},\s*)?${ANSWER}`);
const ID_LAST = new RegExp(String.raw`[}\]"\dle]\s*,\s*(?:${VERSION},\s*)?${ID}(?:,\s*${VERSION})?\}\s*$`);

/**
 * The id of a reply of which only the edges are known: its own, or undefined. It stands right behind the opening brace
 * or right before the closing one; anything between might be the payload's. A request of the server has an id too, of
 * its own counting: only what begins as a reply is one.
 */
export function idAtEdge(head: Buffer, tail: Buffer): number | undefined {
  const start = head.toString('latin1');
  const first = ID_FIRST.exec(start)?.[1];
  const digits = first ?? (ANSWER_FIRST.test(start) ? ID_LAST.exec(tail.toString('latin1'))?.[1] : undefined);
  return digits === undefined ? undefined : Number(digits);
}
