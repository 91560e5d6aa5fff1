import type { IncomingMessage } from 'node:http';
import { costsMore, MAX_ANSWER_COST } from '../../connection/channel/codec/parsingCost.js';
import { excerpt } from '../../connection/net/body/statusError.js';
import { isObject } from '../../connection/protocol/objectOf.js';
import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import type { Clock, Timer } from '../../core/clock.js';
import { messageOf, NotSentError, OutcomeUnknownError, PoolkitError, ProtocolError, show } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { classify } from '../rpc/envelope.js';
import { type Failure, failureOf } from '../rpc/failure.js';
import { parseAnswer } from '../rpc/parseAnswer.js';
import type { ClientPipe } from './ClientPipe.js';
import type { HttpLink, LinkError } from './HttpLink.js';
import { isEventStream, LATE_MS, readResponse, refusalText } from './readResponse.js';

/** By this header a gateway that ends says that what it refuses never ran: what stands between may send 503 for a call that did. */
export const CLOSING = Object.freeze({ 'mcp-poolkit-refused': 'closing' });

export const isClosing = ({ statusCode, headers }: IncomingMessage): boolean =>
  statusCode === 503 && headers['mcp-poolkit-refused'] === CLOSING['mcp-poolkit-refused'];

/**
 * The error in a refusal, which may name no id. @throws OutcomeUnknownError when something between answered, in its own way, that may have
 * passed the call on
 */
export function refusalOf(text: string, { statusCode = 0, headers }: IncomingMessage, method: string): Failure {
  const error = errorIn(text);
  if (error !== undefined) return error;
  const to = headers.location === undefined ? '' : `, which is not followed: ${show(headers.location)}`;
  const message = `the gateway answered with HTTP ${statusCode}${to}`;
  if (statusCode >= 500 && !isRead(method)) throw new OutcomeUnknownError('gateway', method, message);
  return { code: RPC_CODES.invalidRequest, message };
}

/** Why a message has no response, in the words of a call. */
export const notReached = (error: LinkError, method: string): PoolkitError =>
  error.neverSent
    ? new NotSentError('gateway', error.message, error)
    : new OutcomeUnknownError('gateway', method, error.message, { cause: error });

/** The error's code in a refusal. */
export const errorCodeIn = (text: string): number | undefined => errorIn(text)?.code;

function errorIn(text: string): Failure | undefined {
  try {
    const { error } = parseAnswer(text) as { readonly error?: Failure };
    return typeof error?.code === 'number' && typeof error.message === 'string' ? error : undefined;
  } catch {
    // It is no JSON.
    return undefined;
  }
}

/** Methods that may be sent twice: they only read. */
const READS: ReadonlySet<string> = new Set(['initialize', 'ping', 'server/discover']);
export const isRead = (method: string): boolean => READS.has(method) || method.endsWith('/list');

/** Whose answers say what a bridge has to know, too. */
export const isReadHere = (method: string): boolean => method === 'initialize' || method === 'tools/list';

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
  readonly link: Pick<HttpLink, 'incoming'>;
  readonly clock: Clock;
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
  let late: Timer | undefined;
  let isOver = false;
  try {
    const response = await post();
    const stream = isEventStream(response);
    const { statusCode = 0 } = response;
    if (statusCode >= 300 && !stream) {
      failAll(refusalOf(await refusalText(response, sink.link.incoming, sink.clock), response, ARRAY));
      return;
    }
    const endSoon = (): void => {
      isOver = true;
      late ??= sink.clock.setTimer(() => response.destroy(), LATE_MS);
    };
    const onMessage = (text: string): void => {
      const kind = kindOf(text, open, sink.trusted);
      if (kind === 'nameless' && nameless-- <= 0)
        throw new ProtocolError('gateway', `it answered ${ARRAY} without end`);
      if (kind === 'answer' || kind === 'nameless') sink.pipe.send(text);
      else if ((kind === 'request' || kind === 'notification') && stream) sink.pipe.offer(text, kind, response);
      else if (stream) sink.logger.debug({ method: ARRAY }, 'an event answers no call of its stream');
      else throw noAnswer(ARRAY, response, text);
      if (open.size === 0) endSoon();
    };
    if (open.size === 0) endSoon();
    await readResponse(response, sink.link.incoming, { onMessage });
    if (open.size > 0) throw new Error('the response ended without an answer');
  } catch (error) {
    // Cut behind the last answer: nothing is left to be told.
    if (isOver && !(error instanceof ProtocolError)) return;
    const known = error instanceof PoolkitError;
    const told = known ? error : new OutcomeUnknownError('gateway', ARRAY, messageOf(error), { cause: error });
    failAll(failureOf(told, sink.logger));
  } finally {
    late?.cancel();
  }
}

/** The same of a text that comes for an array. Those of `open` that it answers are open no longer. */
function kindOf(
  text: string,
  open: Set<string>,
  trusted: boolean,
): 'answer' | 'nameless' | 'request' | 'notification' | undefined {
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
  if (isObject(parsed) && 'method' in parsed) return 'id' in parsed ? 'request' : 'notification';
  const answers = Array.isArray(parsed) ? parsed : [parsed];
  const ids = answers.map((each: unknown) => (isObject(each) && !('method' in each) ? each['id'] : undefined));
  if (ids.length === 0 || ids.includes(undefined)) return undefined;
  if (ids.map((id) => open.delete(JSON.stringify(id))).includes(true)) return 'answer';
  return ids.includes(null) ? 'nameless' : undefined;
}
