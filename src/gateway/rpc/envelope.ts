import type { ClientCapabilities, Implementation } from '@modelcontextprotocol/client';
import { cutOut } from '../../connection/channel/codec/exactText.js';
import { membersOf, memberText, objectAt } from '../../connection/channel/codec/members.js';
import { objectMember } from '../../connection/channel/codec/ownId.js';
import {
  META_CLIENT_CAPABILITIES,
  META_CLIENT_INFO,
  META_LOG_LEVEL,
  META_PROTOCOL_VERSION,
} from '../../connection/protocol/metaKeys.js';
import { isObject } from '../../connection/protocol/objectOf.js';
import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import { show } from '../../core/errors.js';
import { keyText } from '../../core/text/ownText.js';
import type { Era } from '../../registry/config/ServerConfig.js';
import { Refusal } from './failure.js';
import { MAX_LABEL_LENGTH } from './limits.js';
import { checkMethod } from './methods.js';

/** Newest first. Clients of 2024-11-05 are answered in their version, as the SDK's servers do, also over Streamable HTTP. */
export const PROTOCOL_VERSIONS: readonly string[] = ['2025-11-25', '2025-06-18', '2025-03-26', '2024-11-05'];

/** The one version whose clients may send several messages in an array. */
export const BATCH_VERSION = '2025-03-26';

/** What a server may ask its client, by the capability it takes. */
const ASKED_FOR: Readonly<Record<string, string>> = Object.freeze({
  sampling: 'sampling/createMessage',
  elicitation: 'elicitation/create',
  roots: 'roots/list',
});

export type RpcId = string | number;
export type Params = Readonly<Record<string, unknown>>;

export interface RequestMessage {
  readonly kind: 'request';
  readonly id: RpcId;
  /** The id as it was written: JavaScript cannot hold every number. @defaultValue what JSON makes of the id */
  readonly idText?: string | undefined;
  /** The params as they were written; undefined when they are to be written anew. */
  readonly paramsText?: string | undefined;
  readonly method: string;
  readonly params: Params | undefined;
}

export interface NotificationMessage {
  readonly kind: 'notification';
  readonly method: string;
  readonly params: Params | undefined;
  readonly paramsText?: string | undefined;
}

/** What one message of a client is. A response answers what a server asked it by way of the gateway. */
export interface ResponseMessage {
  readonly kind: 'response';
  readonly id: unknown;
  readonly result: unknown;
  readonly error: unknown;
}

export type Incoming =
  | RequestMessage
  | NotificationMessage
  | ResponseMessage
  | { readonly kind: 'invalid'; readonly id: RpcId | null; readonly why: string };

/**
 * Looks at the envelope alone: what is inside is the server's to judge. `text`: what the message was parsed from, of which a request
 * or a notification keeps how id and params were written. A name that comes twice is not passed on as it stands.
 */
export function classify(message: unknown, text?: string): Incoming {
  if (!isObject(message)) return { kind: 'invalid', id: null, why: 'a message is an object' };
  const { jsonrpc, id, method } = message;
  const params = objectMember(message['params']);
  const known = typeof id === 'string' || typeof id === 'number' ? id : null;
  if (jsonrpc !== '2.0') return { kind: 'invalid', id: known, why: 'jsonrpc is "2.0"' };
  if (method === undefined && ('result' in message || 'error' in message)) {
    if (known === null && id !== null) return { kind: 'invalid', id: null, why: 'id is a string or a number' };
    return { kind: 'response', id, result: message['result'], error: message['error'] };
  }
  if (typeof method !== 'string') return { kind: 'invalid', id: known, why: 'method is a string' };
  if (params === false) return { kind: 'invalid', id: known, why: 'params is an object' };
  if (id !== undefined && known === null) return { kind: 'invalid', id: null, why: 'id is a string or a number' };
  const whole = text === undefined ? undefined : objectAt(text, 0, 'params');
  const members = whole?.members ?? (text === undefined ? undefined : membersOf(text));
  const given = whole?.inside;
  const paramsText = given && cutOut((text as string).slice(given.start, given.end), text as string);
  if (known === null) return { kind: 'notification', method, params, paramsText };
  const idText = members && memberText(text as string, members, 'id');
  return { kind: 'request', id: known, idText, method, params, paramsText };
}

/**
 * What a request is known by while it is in flight: numbers that JavaScript cannot hold are told apart by their text. It is compared with those of all
 * others, so that it is short.
 */
export function idKey({ id, idText }: Pick<RequestMessage, 'id' | 'idText'>): string {
  // A long one is told to no one: to write it as JSON takes as long as to parse it.
  if (typeof id === 'string') return keyText(id.length > MAX_LABEL_LENGTH ? `"${id}` : JSON.stringify(id));
  return keyText(Number.isSafeInteger(id) ? String(id) : (idText ?? String(id)));
}

/** What the request that a cancellation names is known by. */
export function cancelledKey({ params, paramsText }: NotificationMessage): string | undefined {
  const id = params?.['requestId'];
  if (typeof id === 'string' || Number.isSafeInteger(id)) return idKey({ id: id as RpcId });
  if (typeof id !== 'number') return undefined;
  const members = paramsText === undefined ? undefined : membersOf(paramsText);
  const idText = members === undefined ? undefined : memberText(paramsText ?? '', members, 'requestId');
  return idKey(idText === undefined ? { id } : { id, idText });
}

/** An id as it goes back to its client. */
export const idTextOf = ({ id, idText }: Pick<RequestMessage, 'id' | 'idText'>): string => idText ?? JSON.stringify(id);

/** Bounds of what a client says of itself, since it is kept as long as its session: bytes of JSON, and values in it. */
export const MAX_CAPABILITIES_BYTES = 64 * 1_024;
const MAX_CAPABILITIES_VALUES = 1_000;
const MAX_CAPABILITIES_DEPTH = 16;

/** Why what a client says of itself is too much to keep; undefined when it is not. */
export function capabilitiesProblem(params: Params | undefined): string | undefined {
  let values = 0;
  let bytes = 0;
  const pending: { readonly value: unknown; readonly depth: number }[] = [
    { value: params?.['capabilities'], depth: 0 },
    { value: params?.['clientInfo'], depth: 0 },
  ];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const { value, depth } = next;
    values++;
    if (typeof value === 'string') bytes += value.length;
    if (values > MAX_CAPABILITIES_VALUES) return `capabilities may hold ${MAX_CAPABILITIES_VALUES} values`;
    if (depth > MAX_CAPABILITIES_DEPTH) return `capabilities may be ${MAX_CAPABILITIES_DEPTH} levels deep`;
    if (typeof value !== 'object' || value === null) continue;
    for (const [key, each] of Object.entries(value)) {
      bytes += key.length;
      if (bytes > MAX_CAPABILITIES_BYTES) return `capabilities may have ${MAX_CAPABILITIES_BYTES} bytes`;
      if (pending.length > MAX_CAPABILITIES_VALUES) return `capabilities may hold ${MAX_CAPABILITIES_VALUES} values`;
      pending.push({ value: each, depth: depth + 1 });
    }
  }
  return bytes > MAX_CAPABILITIES_BYTES ? `capabilities may have ${MAX_CAPABILITIES_BYTES} bytes` : undefined;
}

/** What a client says in `initialize` that it can do; undefined when that is nothing. */
export function capabilitiesOf(params: Params | undefined): ClientCapabilities | undefined {
  const given = params?.['capabilities'];
  if (!isObject(given)) return undefined;
  const known = Object.entries(given).filter(([, value]) => isObject(value));
  return known.length === 0 ? undefined : (Object.fromEntries(known) as ClientCapabilities);
}

/** What of a client's capabilities a server is told that tells clients apart: what it may ask, and extensions; undefined when nothing. */
export function askable(capabilities: ClientCapabilities | undefined): ClientCapabilities | undefined {
  const known = Object.entries(capabilities ?? {}).filter(
    ([name]) => name === 'extensions' || Object.hasOwn(ASKED_FOR, name),
  );
  return known.length === 0 ? undefined : (Object.fromEntries(known) as ClientCapabilities);
}

/** The name and version a client gives itself, where they are of their type. */
export function clientInfoOf(value: unknown): Implementation | undefined {
  if (!isObject(value) || typeof value['name'] !== 'string' || typeof value['version'] !== 'string') return undefined;
  return value as Implementation;
}

/** Whether that is a request that servers make of clients. */
export const canBeAskedAtAll = (method: string): boolean => Object.values(ASKED_FOR).includes(method);

/** Whether a client of those capabilities can be asked this. */
export function canBeAsked(capabilities: ClientCapabilities | undefined, method: string): boolean {
  return Object.keys(capabilities ?? {}).some((name) => Object.hasOwn(ASKED_FOR, name) && ASKED_FOR[name] === method);
}

/**
 * The client's own progress token as it was written, when it asked for progress: JavaScript cannot hold every number.
 * @throws Refusal when it is too long to be repeated with each progress
 */
export function progressTokenOf(params: Params | undefined, paramsText: string | undefined): string | undefined {
  const meta = params?.['_meta'];
  const token = isObject(meta) ? meta['progressToken'] : undefined;
  if (typeof token !== 'string' && typeof token !== 'number') return undefined;
  const text =
    typeof token === 'string' || Number.isSafeInteger(token) ? JSON.stringify(token) : writtenToken(token, paramsText);
  if (text.length <= MAX_LABEL_LENGTH) return text;
  throw new Refusal(RPC_CODES.invalidParams, `a progress token has ${MAX_LABEL_LENGTH} characters or fewer`);
}

function writtenToken(token: number, paramsText = '{}'): string {
  const metaText = memberText(paramsText, membersOf(paramsText) ?? [], '_meta') ?? '{}';
  return memberText(metaText, membersOf(metaText) ?? [], 'progressToken') ?? JSON.stringify(token);
}

const META = 'io.modelcontextprotocol';
/** Members of params by which something is decided here. */
const DECIDING =
  `name arguments uri taskId cursor requestState inputResponses _meta task ref type argument context level
  notifications requestId`.split(/\s+/);
/** The same of `_meta`. */
const DECIDING_META = `progressToken traceparent tracestate baggage ${META}/related-task ${META}/subscriptionId
  ${META_PROTOCOL_VERSION} ${META_CLIENT_INFO} ${META_CLIENT_CAPABILITIES} ${META_LOG_LEVEL}`.split(/\s+/);
/** Of other methods no member is known. */
const OF_PROTOCOL = /^(?:tools|prompts|resources|completion|tasks|logging)\//;
/** A name that is longer is none of them, in whatever letters. */
const MAX_FOLDED = 64;

/** A name in all its letters: some parsers take one for the other, as Go's `encoding/json` does, `\u017f` for an s and `\u212a` for a k too. */
export const foldedName = (name: string): string => name.toUpperCase().toLowerCase();

const byFolded = (names: readonly string[]): ReadonlyMap<string, string> =>
  new Map(names.map((name) => [foldedName(name), name]));
const PARAMS = byFolded(DECIDING);
const IN_META = byFolded(DECIDING_META);

/**
 * What is decided here by a name, its server may read under the same name in other letters: such a member goes to none.
 * @throws Refusal
 */
export function checkNames(method: string, params: Params | undefined, era: Era): void {
  checkMethod(method, era);
  if (params === undefined || !OF_PROTOCOL.test(method)) return;
  checkMembers(params, PARAMS);
  const { _meta: meta, ref } = params;
  if (isObject(ref)) checkMembers(ref, PARAMS);
  if (!isObject(meta)) return;
  checkMembers(meta, IN_META);
  const related = meta[`${META}/related-task`];
  if (isObject(related)) checkMembers(related, PARAMS);
}

function checkMembers(given: Params, known: ReadonlyMap<string, string>): void {
  for (const name of Object.keys(given)) {
    const meant = name.length > MAX_FOLDED ? undefined : known.get(foldedName(name));
    if (meant !== undefined && meant !== name)
      throw new Refusal(RPC_CODES.invalidParams, `${show(name)} is ${meant} in other letters`);
  }
}
