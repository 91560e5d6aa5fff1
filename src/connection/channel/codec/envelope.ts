import { isUtf8 } from 'node:buffer';
import { ProtocolError, RpcError, show } from '../../../core/errors.js';
import { ownId } from './ownId.js';
import { skipJson, skipSpace, skipString } from './skipJson.js';

/** JSON-RPC envelopes: read with a few comparisons, on bytes where the result must stay unparsed. */

/** A reply's result in its line, as byte offsets, with its id. */
export interface RawReply {
  readonly id: number;
  readonly start: number;
  readonly end: number;
}

/** Raw results up to this size are copied, so that a few bytes do not hold a whole chunk. */
const COPY_BYTES = 64 * 1024;
/** A larger one is copied, too, where its message has more than a part of it beside: what is kept of it counts by its own size. */
const MAX_BESIDE_RATIO = 1 / 8;

/** A part of a message, to be kept: a view of all of it only where that is little more. */
export function detached(message: Buffer, start: number, end: number): Buffer {
  const part = message.subarray(start, end);
  const beside = message.length - part.length;
  return part.length <= COPY_BYTES || beside > MAX_BESIDE_RATIO * part.length ? Buffer.from(part) : part;
}

const QUOTE = 0x22;
const COLON = 0x3a;
const COMMA = 0x2c;
const CLOSE_BRACE = 0x7d;

/**
 * Finds id and result of a reply in its line's bytes; undefined when it is no reply with a result, or no JSON: what is
 * handed on as bytes is proved to be JSON (docs/decisions/135-raw-results-are-checked.md).
 */
export function scanReply(line: Buffer): RawReply | undefined {
  let at = skipSpace(line, 0);
  if (line[at] !== 0x7b) return undefined;
  let id: number | undefined;
  let result: { start: number; end: number } | undefined;
  const names = new NamesOfAnswer();
  at = skipSpace(line, at + 1);
  while (line[at] === QUOTE) {
    const keyEnd = skipString(line, at);
    if (keyEnd < 0) return undefined;
    const key = line.toString('latin1', at + 1, Math.min(keyEnd - 1, at + 16));
    at = skipSpace(line, keyEnd);
    if (line[at] !== COLON) return undefined;
    const start = skipSpace(line, at + 1);
    const end = skipJson(line, start);
    if (end < 0 || key === 'method' || key === 'error') return undefined;
    names.saw(key);
    if (key === 'id') id = idOf(line.toString('latin1', start, end));
    else if (key === 'result') result = { start, end };
    at = skipSpace(line, end);
    if (line[at] !== COMMA) break;
    at = skipSpace(line, at + 1);
    if (line[at] !== QUOTE) return undefined;
  }
  if (line[at] !== CLOSE_BRACE || skipSpace(line, at + 1) !== line.length || !names.areAll) return undefined;
  // Bytes that are no UTF-8 are read by the parser, which puts replacement characters in their place.
  if (result !== undefined && !isUtf8(line)) return undefined;
  return id !== undefined && Number.isInteger(id) && result !== undefined ? { id, ...result } : undefined;
}

/** An id's text, which may be our number as a string. */
export function idOf(text: string): number | undefined {
  return ownId(/^"[1-9]\d*"$/.test(text) ? text.slice(1, -1) : Number(text));
}

/** An error reply as the caller gets it: the server's own, if it is one. */
export function replyError(server: string, error: unknown, dataText?: string): RpcError | ProtocolError {
  const { code, message, data } = (typeof error === 'object' && error !== null ? error : {}) as Record<string, unknown>;
  // A code is a whole number: clients take no message with another for an answer.
  if (Number.isSafeInteger(code) && typeof message === 'string')
    return new RpcError(server, code as number, message, data, dataText);
  const words = typeof message === 'string' ? message : typeof error === 'string' ? error : undefined;
  return new ProtocolError(
    server,
    words === undefined
      ? `an error reply without code and message: ${show(error)}`
      : `an error reply with code ${show(code)}: ${words.slice(0, MAX_WORDS)}`,
  );
}

/** Of an error's message that has no proper code, so many characters are kept. */
const MAX_WORDS = 500;

const NAMES: ReadonlySet<string> = new Set(['id', 'result', 'error']);

/** What the names of a message's members say, one after another: it is an answer where one is `jsonrpc`, or none is of anything else. Lines of logs have ids and results, too. */
export class NamesOfAnswer {
  #versioned = false;
  #foreign = false;

  saw(name: string): void {
    if (name === 'jsonrpc') this.#versioned = true;
    else if (!NAMES.has(name)) this.#foreign = true;
  }

  get areAll(): boolean {
    return this.#versioned || !this.#foreign;
  }
}

export function isNamedAsAnswer(message: object): boolean {
  return 'jsonrpc' in message || Object.keys(message).every((name) => NAMES.has(name));
}
