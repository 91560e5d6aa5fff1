import type { IncomingHttpHeaders } from 'node:http';
import { keepText } from '../../connection/channel/codec/exactText.js';
import { costsMore, MAX_UNASKED_COST } from '../../connection/channel/codec/parsingCost.js';
import { EDGE_BYTES, type Edges } from '../../connection/channel/unread/MessageEdges.js';
import { messageAtEdges } from '../../connection/channel/unread/messageAtEdges.js';
import { MAX_BATCH } from '../../connection/protocol/messages.js';
import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import { inTurn } from '../../core/time/turns.js';
import { isModern } from '../modern/checkRequest.js';
import { classify, type Incoming, type ResponseMessage } from './envelope.js';
import type { Failure } from './failure.js';
import type { LargeBody } from './LargeBody.js';
import { light } from './light.js';

/** Bytes that values may take for each byte of their JSON: 16 measured with `[[],[],...]` on Node 20. */
const PARSED_RATIO = 16;

/** Bytes that a call in flight takes for each byte of its body: measured with 20 of 3 MB at a stdio server on Node 20. */
const COPIES = 3;

/** What a request costs while it waits, however short it is: 10 kB measured with a modern one that waits for a start. */
export const CALL_BYTES = 10_000;

/** What a body says. */
export interface ReadMessages {
  readonly messages: readonly Incoming[];
  /** Whether they came in an array. */
  readonly batch: boolean;
  readonly modern: boolean;
  /** Bytes that it takes for as long as its calls wait: its text, what is sent on, and what is kept as values. */
  readonly heldBytes: number;
}

/**
 * Whether they are a subscription of the modern era, which is answered only by its end: what it asks for is counted where it is opened, and what
 * has read the body must not wait with it in hand.
 */
export const isListen = ({ modern, batch, messages: [first] }: ReadMessages): boolean =>
  modern && !batch && first?.kind === 'request' && first.method === 'subscriptions/listen';

/** Why a body cannot be read. */
export interface Unreadable {
  readonly status: 400 | 413;
  readonly failure: Failure;
  readonly edges?: Pick<Edges, 'head' | 'tail'>;
}

/** What the server that asked is told in place of its client's answer, if a message that was refused is one. */
export function lostAnswer(edges: Pick<Edges, 'head' | 'tail'> | undefined, why: string): ResponseMessage | undefined {
  const { kind, idText } = (edges && messageAtEdges(edges)) ?? {};
  return kind === 'response' && idText !== undefined ? refusedAnswer(JSON.parse(idText), why) : undefined;
}

export const refusedAnswer = (id: unknown, why: string): ResponseMessage => {
  const error = { code: RPC_CODES.internalError, message: `the answer of the client was refused: ${why}` };
  return { kind: 'response', id, result: undefined, error };
};

/** The messages of one body, or why it holds none. */
export function readMessages(text: string, headers: IncomingHttpHeaders): ReadMessages | Unreadable {
  if (costsMore(text, MAX_UNASKED_COST)) return ofText(TOO_MANY_VALUES, text);
  const parsed = parse(text);
  return parsed === undefined ? ofText(NO_JSON, text) : understood(parsed, text, headers);
}

/**
 * The same of a large body, each step in a turn of the event loop of its own, over all bodies: others do not wait for all of them. Its caller counts it
 * as held meanwhile.
 */
export async function readLargeMessages(
  body: string | LargeBody,
  headers: IncomingHttpHeaders,
): Promise<ReadMessages | Unreadable> {
  const parsed = await parsedInTurns(body);
  if ('failure' in parsed) return parsed;
  const { value, text } = parsed;
  const message = Array.isArray(value) ? undefined : await inTurn(() => classify(value, text));
  const read = await inTurn(() => understood(value, text, headers, message));
  return inTurn(() => read);
}

/** What JSON says, and its text, unless it costs more than what was not asked for may: each step in a turn of its own. */
export async function parsedInTurns(
  body: string | LargeBody,
): Promise<{ readonly value: unknown; readonly text: string } | Unreadable> {
  const text = typeof body === 'string' ? body : await inTurn(() => body.take());
  if (text === undefined) return NO_TEXT;
  if (await inTurn(() => costsMore(text, MAX_UNASKED_COST))) return ofText(TOO_MANY_VALUES, text);
  const value = await inTurn(() => parse(text));
  return value === undefined ? ofText(NO_JSON, text) : { value, text };
}

/** What a text says; undefined when it is not JSON. */
function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** `message`: what it is, where that is known. */
function understood(
  parsed: unknown,
  text: string,
  headers: IncomingHttpHeaders,
  message = Array.isArray(parsed) ? undefined : classify(parsed, text),
): ReadMessages | Unreadable {
  const modern = isModern(headers, parsed);
  if (Array.isArray(parsed) && parsed.length > MAX_BATCH) {
    return unreadable(400, RPC_CODES.invalidRequest, `an array has ${MAX_BATCH} messages at most`);
  }
  if (Array.isArray(parsed) || message === undefined)
    return held(
      (parsed as unknown[]).map((each) => classify(each)),
      true,
      modern,
      text.length,
      text.length,
    );
  if (message.kind === 'response') {
    keepText(message.result, text, 'result');
    keepText(message.error, text, 'error');
  }
  if (message.kind === 'invalid' || message.kind === 'response') return held([message], false, modern, text.length, 0);
  const { method, params, paramsText } = message;
  // What it asks for is looked at more than once.
  if (modern && method === 'subscriptions/listen') return held([message], false, modern, text.length, text.length);
  if (params === undefined) return held([message], false, modern, text.length, 0);
  const kept = paramsText === undefined ? undefined : light(params, paramsText);
  if (kept === undefined) return held([message], false, modern, text.length, text.length);
  if (message.kind === 'notification') keepText(kept.params, text, 'params');
  return held(
    [kept.params === params ? message : { ...message, params: kept.params }],
    false,
    modern,
    text.length,
    kept.parsedBytes,
  );
}

const unreadable = (status: Unreadable['status'], code: number, message: string): Unreadable => ({
  status,
  failure: { code, message },
});

const ofText = (refusal: Unreadable, text: string): Unreadable => {
  const [head, tail] = [text.slice(0, EDGE_BYTES), text.slice(-EDGE_BYTES)].map((each) => Buffer.from(each));
  return head && tail ? { ...refusal, edges: { head, tail } } : refusal;
};

const TOO_MANY_VALUES = unreadable(413, RPC_CODES.invalidRequest, 'the body has too many values');
const NO_TEXT = unreadable(400, RPC_CODES.parseError, 'the body is not UTF-8');
const NO_JSON = unreadable(400, RPC_CODES.parseError, 'the body is not JSON');

function held(
  messages: readonly Incoming[],
  batch: boolean,
  modern: boolean,
  bytes: number,
  parsedBytes: number,
): ReadMessages {
  return { messages, batch, modern, heldBytes: bytesInFlight(bytes, parsedBytes) };
}

/** What a body takes for as long as what it asks for is under way. */
export const bytesInFlight = (bytes: number, parsedBytes: number): number =>
  CALL_BYTES + COPIES * bytes + PARSED_RATIO * parsedBytes;
