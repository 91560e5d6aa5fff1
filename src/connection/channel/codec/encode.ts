import { keptText, MessageTooLargeError, OptionError } from '../../../core/errors.js';
import type { CallClient, Params } from '../../protocol/messages.js';
import { objectOf } from '../../protocol/objectOf.js';
import type { Call } from '../Call.js';
import { textOf } from './exactText.js';
import { membersOf, withMembers, withTheseMembers } from './members.js';

/** What a message must keep to: whose it is, for errors, and its size in bytes. */
export interface MessageBounds {
  readonly server: string;
  readonly maxMessageBytes: number;
}

/** Why a request of a server fails. */
export interface Refused {
  readonly code: number;
  readonly message: string;
  readonly data?: unknown;
  /** The JSON of the data, as it was written. */
  readonly dataText?: string | undefined;
}

/** What an era says in the `_meta` of every message; of the client that a call is made for, where there is one. */
export type Envelope = (client: CallClient | undefined) => Params;

/**
 * A call's text. Its id stands in for the caller's progress token, which is kept with the call.
 * @throws OptionError for params that are no object or not JSON; MessageTooLargeError
 */
export function encodeCall(call: Call, envelope: Envelope | undefined, bounds: MessageBounds): string {
  const { id, method, params, options } = call;
  if (params !== undefined) checkParams(params);
  const era = envelope === undefined || method === 'initialize' ? undefined : envelope(options.client);
  const own = options.meta === undefined ? era : { ...options.meta, ...era };
  const token = (params?.['_meta'] as Params | undefined)?.['progressToken'] as string | number | undefined;
  const tracked = token !== undefined || options.onProgress !== undefined;
  if (tracked) call.progressToken = token;
  const meta = tracked ? { progressToken: id, ...own } : own;
  if (options.paramsText !== undefined) {
    const text = meta === undefined ? options.paramsText : withMetaText(options.paramsText, meta);
    const head = `{"jsonrpc":"2.0","id":${id},"method":${JSON.stringify(method)},"params":`;
    if (text !== undefined) return bounded(`${head}${onOneLine(text)}}`, bounds);
  }
  const full = meta === undefined ? params : withMeta(params, meta);
  return stringify(
    full === undefined ? { jsonrpc: '2.0', id, method } : { jsonrpc: '2.0', id, method, params: full },
    bounds,
  );
}

/** JSON-RPC knows lists of them, too; MCP does not. @throws OptionError */
function checkParams(params: Params): void {
  if (typeof params !== 'object' || params === null || Array.isArray(params)) {
    throw new OptionError('params', params, 'an object, or undefined for none');
  }
}

/**
 * JSON with escapes for the characters that some readers of lines take for the end of one, though a message ends with a newline alone:
 * Node's `readline` does from 24 on, Python's `splitlines` too. They stand only in strings, where an escape says the same.
 */
export function escapedSeparators(json: string): string {
  // Most texts have none, and are looked through quickly for each.
  let text = json;
  if (text.includes('\u2028')) text = text.replace(/\u2028/g, '\\u2028');
  if (text.includes('\u2029')) text = text.replace(/\u2029/g, '\\u2029');
  if (text.includes('\u0085')) text = text.replace(/\u0085/g, '\\u0085');
  return text;
}

/** The same JSON without line breaks, which end a message over stdio: strings cannot hold any, so that each is white space. */
function onOneLine(json: string): string {
  return json.includes('\n') || json.includes('\r') ? json.replace(/[\r\n]+/g, ' ') : json;
}

function withMeta(params: Params | undefined, meta: Params): Params {
  const { _meta: given, ...rest } = params ?? {};
  return { _meta: given === undefined ? meta : { ...objectOf(given), ...meta }, ...rest };
}

/** The same in text, where everything else stays as it came. */
function withMetaText(params: string, meta: Params): string | undefined {
  const members = membersOf(params);
  if (members === undefined) return undefined;
  const values: Record<string, string> = {};
  for (const key of Object.keys(meta)) values[key] = JSON.stringify(meta[key]);
  const given = members.find(({ key }) => key === '_meta');
  const merged =
    given !== undefined && params[given.valueStart] === '{'
      ? withMembers(params, values, given.valueStart)
      : withMembers('{}', values);
  if (merged === undefined) return undefined;
  if (given === undefined) return withTheseMembers(params, members, { _meta: merged });
  return params.slice(0, given.valueStart) + merged + params.slice(given.end);
}

/** A notification's text, checked as a call's is. */
export function encodeNotice(
  method: string,
  params: Params | undefined,
  envelope: Envelope | undefined,
  bounds: MessageBounds,
): string {
  if (params !== undefined) checkParams(params);
  const own = envelope?.(undefined);
  const given = textOf(params);
  const text = given === undefined || own === undefined ? given : withMetaText(given, own);
  if (text !== undefined)
    return bounded(`{"jsonrpc":"2.0","method":${JSON.stringify(method)},"params":${onOneLine(text)}}`, bounds);
  const full = own === undefined ? params : withMeta(params, own);
  return stringify(full === undefined ? { jsonrpc: '2.0', method } : { jsonrpc: '2.0', method, params: full }, bounds);
}

/** What tells a server that the caller of `call` has given it up. */
export function cancelledNotice(call: Call, reason: string): string {
  const params = { requestId: call.id, reason: keptText(reason) };
  return JSON.stringify({ jsonrpc: '2.0', method: 'notifications/cancelled', params });
}

/** The text of an answer to a server's request, as its result came. @throws OptionError, MessageTooLargeError */
export function encodeAnswer(id: string | number, result: unknown, bounds: MessageBounds): string {
  const text = textOf(result);
  if (text === undefined) return stringify({ jsonrpc: '2.0', id, result }, bounds);
  return bounded(`{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":${onOneLine(text)}}`, bounds);
}

/** The same for one that failed. */
export function encodeRefusal(
  id: string | number,
  { code, message, data, dataText }: Refused,
  bounds: MessageBounds,
): string {
  const error = data === undefined ? { code, message } : { code, message, data };
  if (dataText === undefined) return stringify({ jsonrpc: '2.0', id, error }, bounds);
  const head = JSON.stringify({ code, message }).slice(0, -1);
  return bounded(`{"jsonrpc":"2.0","id":${JSON.stringify(id)},"error":${head},"data":${onOneLine(dataText)}}}`, bounds);
}

/** A message's text. @throws OptionError, MessageTooLargeError */
export function stringify(message: Params, { server, maxMessageBytes }: MessageBounds): string {
  let text: string;
  try {
    text = JSON.stringify(message);
  } catch (error) {
    throw new OptionError('params', message['params'] ?? message['result'], 'a value that JSON can carry', error);
  }
  return bounded(text, { server, maxMessageBytes });
}

function bounded(text: string, { server, maxMessageBytes }: MessageBounds): string {
  // A UTF-16 unit is at most three bytes: most messages need no count.
  if (text.length * 3 > maxMessageBytes) {
    const bytes = Buffer.byteLength(text);
    if (bytes > maxMessageBytes) throw new MessageTooLargeError(server, 'outgoing', bytes, maxMessageBytes);
  }
  return text;
}
