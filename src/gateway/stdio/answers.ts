import type { IncomingMessage } from 'node:http';
import { costsMore, MAX_ANSWER_COST } from '../../connection/channel/codec/parsingCost.js';
import { skipJson, skipSpace, skipString } from '../../connection/channel/codec/skipJson.js';
import { excerpt } from '../../connection/net/body/statusError.js';
import { isObject } from '../../connection/protocol/objectOf.js';
import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import { messageOf, OutcomeUnknownError, PoolkitError, ProtocolError, show } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { classify } from '../rpc/envelope.js';
import { type Failure, failureOf } from '../rpc/failure.js';
import { parseAnswer } from '../rpc/parseAnswer.js';
import type { ClientPipe } from './ClientPipe.js';
import { isEventStream, readResponse, textOf } from './readResponse.js';

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const PARTS: ReadonlySet<string> = new Set(['id', 'method', 'result', 'error']);

/** It refuses what comes now, and ends when what is in flight is answered. */
export const isClosing = ({ statusCode, headers }: IncomingMessage): boolean =>
  statusCode === 503 && headers.connection === 'close';

/**
 * What a text is to the request of that id: its `answer`, a `message` that asks or tells, or nothing of it. Proved on its bytes: a
 * program of another kind may have the gateway's address, and what it says must neither reach the client nor count as an answer.
 */
export function meaningOf(text: string, idText: string): 'answer' | 'message' | undefined {
  const bytes = Buffer.from(text);
  const parts = new Map<string, string>();
  let at = skipSpace(bytes, 0);
  if (bytes[at] !== OPEN_BRACE) return undefined;
  do {
    const key = skipSpace(bytes, at + 1);
    const keyEnd = bytes[key] === QUOTE ? skipString(bytes, key) : -1;
    const colon = keyEnd < 0 ? -1 : skipSpace(bytes, keyEnd);
    if (bytes[colon] !== COLON) return undefined;
    const start = skipSpace(bytes, colon + 1);
    const end = skipJson(bytes, start);
    if (end < 0) return undefined;
    const name = bytes.toString('latin1', key + 1, keyEnd - 1);
    if (PARTS.has(name)) parts.set(name, name === 'id' ? bytes.toString('utf8', start, end) : name);
    at = skipSpace(bytes, end);
  } while (bytes[at] === COMMA);
  if (bytes[at] !== CLOSE_BRACE || skipSpace(bytes, at + 1) !== bytes.length) return undefined;
  if (parts.has('method')) return 'message';
  const id = parts.get('id');
  if (id === undefined || (!parts.has('result') && !parts.has('error'))) return undefined;
  return id === idText || JSON.parse(id) === JSON.parse(idText) ? 'answer' : undefined;
}

/** The error in a refusal, which may name no id. `to`: where it redirects. */
export function refusalOf(text: string, status: number, to?: string): Failure {
  try {
    const { error } = parseAnswer(text) as { readonly error?: Failure };
    if (typeof error?.code === 'number' && typeof error.message === 'string') return error;
  } catch {
    // Something between answered, in its own way.
  }
  return {
    code: RPC_CODES.invalidRequest,
    message: `the gateway answered with HTTP ${status}${to === undefined ? '' : `, which is not followed: ${show(to)}`}`,
  };
}

/** Of a whole body that answers something else, or nothing. */
export function noAnswer(method: string, { statusCode, headers }: IncomingMessage, text: string): ProtocolError {
  const type = headers['content-type'] ?? 'none';
  const said = excerpt(Buffer.from(text.slice(0, 2_048)));
  return new ProtocolError(
    'gateway',
    `it answered ${method} with ${statusCode}, content type ${type}${said && `: ${said}`}`,
  );
}

/** What errors call the messages of an array. */
export const ARRAY = 'an array of messages';

/** What becomes of the messages of an array. */
export interface ArraySink {
  readonly pipe: Pick<ClientPipe, 'send' | 'offer'>;
  fail(idText: string, failure: Failure): void;
  readonly logger: Logger;
  /** A gateway in this process needs no proof of its answers, which would hold up all that it serves. */
  readonly trusted: boolean;
}

/** How answers of our own begin, with their ids. */
const OWN_ANSWER = /^\{"jsonrpc":"2\.0","id":("(?:[^"\\]|\\.){0,200}"|-?\d{1,15}),"(?:result|error)":/;
const ID_CHARS = 1_024;

/** Hands on what comes for the messages of an array. Each request of it is answered, or told why it is not. Never rejects. */
export async function answerArray(
  messages: readonly unknown[],
  post: () => Promise<IncomingMessage>,
  sink: ArraySink,
): Promise<void> {
  const open = new Set<string>();
  for (const each of messages.map((message) => classify(message))) {
    if (each.kind === 'request' || (each.kind === 'invalid' && each.id !== null)) open.add(JSON.stringify(each.id));
  }
  const asked = open.size;
  // Of messages that are none the id is null: no more of them are answered than were sent.
  let nameless = messages.length;
  // A refusal of what has no id is told once.
  const ids = (): Iterable<string> => (asked > 0 ? open : ['null']);
  const failAll = (failure: Failure): void => {
    for (const idText of ids()) sink.fail(idText, failure);
  };
  try {
    const response = await post();
    const stream = isEventStream(response);
    const { statusCode = 0, headers } = response;
    if (statusCode >= 300 && !stream) {
      failAll(refusalOf(await textOf(response), statusCode, headers.location));
      return;
    }
    const onMessage = (text: string): void => {
      const kind = kindOf(text, open, sink.trusted);
      if (kind === 'nameless' && nameless-- <= 0)
        throw new ProtocolError('gateway', `it answered ${ARRAY} without end`);
      if (kind === 'answer' || kind === 'nameless') sink.pipe.send(text);
      else if (kind === 'message' && stream) sink.pipe.offer(text);
      else if (stream) sink.logger.debug({ method: ARRAY }, 'an event answers no call of its stream');
      else throw noAnswer(ARRAY, response, text);
    };
    await readResponse(response, { onMessage });
    if (open.size > 0) throw new Error('the response ended without an answer');
  } catch (error) {
    const known = error instanceof PoolkitError;
    const told = known ? error : new OutcomeUnknownError('gateway', ARRAY, messageOf(error), { cause: error });
    failAll(failureOf(told, sink.logger));
  }
}

/** The same of a text that comes for an array. Those of `open` that it answers are open no longer. */
function kindOf(text: string, open: Set<string>, trusted: boolean): 'answer' | 'nameless' | 'message' | undefined {
  if (trusted && text.startsWith('[')) {
    open.clear();
    return 'answer';
  }
  const own = trusted ? OWN_ANSWER.exec(text.slice(0, ID_CHARS))?.[1] : undefined;
  if (own !== undefined && open.delete(JSON.stringify(JSON.parse(own)))) return 'answer';
  if (costsMore(text, MAX_ANSWER_COST)) return undefined;
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (isObject(parsed) && 'method' in parsed) return 'message';
  const answers = Array.isArray(parsed) ? parsed : [parsed];
  const ids = answers.map((each: unknown) => (isObject(each) && !('method' in each) ? each['id'] : undefined));
  if (ids.length === 0 || ids.includes(undefined)) return undefined;
  if (ids.map((id) => open.delete(JSON.stringify(id))).includes(true)) return 'answer';
  return ids.includes(null) ? 'nameless' : undefined;
}
