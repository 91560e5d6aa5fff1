import { setMaxListeners } from 'node:events';
import { exactText, keepText } from '../../connection/channel/codec/exactText.js';
import { membersOf, memberText } from '../../connection/channel/codec/members.js';
import { MAX_READ_BYTES } from '../../connection/channel/codec/parsingCost.js';
import type { ServerRequest } from '../../connection/protocol/messages.js';
import { META_LOG_LEVEL } from '../../connection/protocol/metaKeys.js';
import { isObject } from '../../connection/protocol/objectOf.js';
import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import { neverRan, OutcomeUnknownError, ProtocolError, RpcError, show } from '../../core/errors.js';
import { inTurnOrNow } from '../../core/time/turns.js';
import { signalOf } from '../../core/wait/Cancellation.js';
import { acrossEras } from '../endpoint/crossing.js';
import type { CallOptions, Downstream } from '../endpoint/Endpoint.js';
import type { Params } from '../rpc/envelope.js';
import { changed } from './paramsFor.js';
import { checkNeeded, MAX_STATE_CHARS } from './RequestStates.js';
import { legacyResult } from './resultText.js';

/** Sends a call up, to whichever connection the session has. */
export type Send = (params: Params | undefined, call: CallOptions) => Promise<unknown>;

/** What a server needs before it completes the call. */
interface Needed {
  /** Each is taken out as it is asked: one that was answered is not kept for the others. */
  readonly requests: ServerRequest[];
  readonly requestState: unknown;
}

/** What the next round is sent with, for as long as it is needed. */
interface Input {
  params: Params;
  /** Give back what of it counts as held. */
  readonly held: (() => void)[];
}

/** Rounds of one call, after which its server is taken for one that never has enough. */
const MAX_ROUNDS = 32;
/** Questions of one round. */
const MAX_QUESTIONS = 100;

const TOO_LARGE = `the answers to what the server asks at once have more than ${MAX_READ_BYTES} characters`;

/** One call of a legacy client on a server of the modern era. */
export interface LegacyCall {
  readonly server: string;
  readonly session: Downstream;
  readonly params: Params | undefined;
  readonly call: CallOptions;
}

/**
 * Runs it: what the server needs of the client (`input_required`) is asked of it as a legacy server would, and the call is made
 * again with the answers until it is complete. The session's log level goes with each call. What only the modern era has
 * does not reach the client.
 */
export async function legacyOverModern(given: LegacyCall, send: Send): Promise<unknown> {
  const { server } = given;
  const input: Input = { params: {}, held: [] };
  let begun = false;
  try {
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const outcome = await sent(given, input, send);
      begun = true;
      if (outcome instanceof Uint8Array) return outcome;
      letGo(input);
      await ask(given, outcome, input);
    }
  } catch (error) {
    // A question that finds no room, or a round that is not sent, does not say so of the rounds before.
    if (!begun || !neverRan(error)) throw error;
    throw new OutcomeUnknownError(server, 'the call', 'it had begun', { cause: error });
  } finally {
    letGo(input);
  }
  throw new RpcError(server, RPC_CODES.internalError, `the server asked for input ${MAX_ROUNDS} times without an end`);
}

function letGo(input: Input): void {
  input.params = {};
  for (const giveBack of input.held.splice(0)) giveBack();
}

/** One round, up to the result or what is needed first. A function of its own: what it has in hand must not outlive it while the client is asked. */
async function sent(
  { server, session, params, call }: LegacyCall,
  input: Input,
  send: Send,
): Promise<Uint8Array | Needed> {
  const client = { clientInfo: session.clientInfo, capabilities: acrossEras(session.capabilities ?? {}) };
  const meta = session.logLevel === undefined ? {} : { [META_LOG_LEVEL]: session.logLevel };
  const changing = changed(params, call, { params: input.params, meta });
  const given = changing instanceof Promise ? await changing : changing;
  const result = await send(given.params, { ...call, ...given, client });
  const whole = result instanceof Uint8Array ? result : Buffer.from(JSON.stringify(result));
  const { bytes, isNeed, inputRequests, requestState } = await legacyResult(whole);
  if (!isNeed) return bytes;
  return inTurnOrNow(() => ({
    requests: requestsIn(server, inputRequests),
    requestState: toldIn(server, requestState, MAX_STATE_CHARS),
  }));
}

/** Asks the client everything at once, as it may be asked; when one question fails, the others are given up too. */
async function ask(
  { server, session: { held }, call }: LegacyCall,
  { requests, requestState }: Needed,
  input: Input,
): Promise<void> {
  const { onRequest } = call;
  if (onRequest === undefined && requests.length > 0) {
    throw new RpcError(server, RPC_CODES.internalError, 'the server needs input that the client cannot give');
  }
  const keep = (giveBack: (() => void) | undefined): void => void (giveBack && input.held.push(giveBack));
  keep(held?.hold(server, [requestState, requests.map(({ id }) => id)]));
  const failed = new AbortController();
  const signal = call.signal === undefined ? failed.signal : AbortSignal.any([signalOf(call.signal), failed.signal]);
  // Each question listens.
  setMaxListeners(0, signal);
  const texts: string[] = [];
  let chars = 0;
  const all = eachOf(requests, async (request): Promise<[unknown, unknown]> => {
    const answer = await onRequest?.(request, { signal, server });
    await inTurnOrNow(() => {
      // Nothing is held for a call that has failed.
      signal.throwIfAborted();
      keep(held?.holdAnswer(server, answer));
      const text = exactText(answer) ?? 'null';
      chars += text.length;
      if (chars > MAX_READ_BYTES) throw new RpcError(server, RPC_CODES.internalError, TOO_LARGE);
      texts.push(`${JSON.stringify(request.id)}:${text}`);
    });
    return [request.id, answer];
  });
  try {
    const inputResponses = Object.fromEntries(await Promise.all(all)) as Params;
    const text = `{${texts.join(',')}}`;
    // Beside the answers themselves.
    keep(held?.holdAnswer(server, text));
    keepText(inputResponses, text);
    input.params = { inputResponses, ...(requestState === undefined ? {} : { requestState }) };
  } catch (error) {
    failed.abort(error);
    throw error;
  }
}

/** Takes each out. A function of its own, as above. */
const eachOf = <T>(requests: ServerRequest[], begin: (request: ServerRequest) => T): T[] =>
  requests.splice(0).map(begin);

/** What a server says it needs. What stands beside it in its answer is not looked at. */
function toldIn(server: string, text: string | undefined, maxChars = Number.POSITIVE_INFINITY): unknown {
  if (text === undefined) return undefined;
  checkNeeded(server, text, maxChars);
  return JSON.parse(text);
}

/** The server's questions, of which none is asked when one is no question. Their params stay as they came. */
function requestsIn(server: string, text: string | undefined): ServerRequest[] {
  const given = toldIn(server, text);
  if (text === undefined || given === undefined) return [];
  if (!isObject(given)) throw new ProtocolError(server, 'its inputRequests are no object');
  const entries = Object.entries(given);
  if (entries.length > MAX_QUESTIONS) {
    throw new ProtocolError(server, `it asks ${entries.length} questions at once, ${MAX_QUESTIONS} may be`);
  }
  const members = membersOf(text) ?? [];
  return entries.map(([id, request]) => {
    const { method, params } = isObject(request) ? request : {};
    const own = memberText(text, members, id);
    if (own !== undefined) keepText(params, own, 'params');
    if (typeof method !== 'string') throw new ProtocolError(server, `its inputRequests.${show(id)} has no method`);
    return { id, method, ...(isObject(params) ? { params } : {}) };
  });
}
