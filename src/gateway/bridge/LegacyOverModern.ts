import type { ServerRequest } from '../../connection/protocol/messages.js';
import { META_LOG_LEVEL } from '../../connection/protocol/metaKeys.js';
import { isObject } from '../../connection/protocol/objectOf.js';
import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import { neverRan, OutcomeUnknownError, ProtocolError, RpcError, show } from '../../core/errors.js';
import { signalOf } from '../../core/wait/Cancellation.js';
import { acrossEras } from '../endpoint/crossing.js';
import type { CallOptions, Downstream } from '../endpoint/Endpoint.js';
import type { Params } from '../rpc/envelope.js';
import { parseAnswer } from '../rpc/parseAnswer.js';
import { changed } from './paramsFor.js';
import { legacyResult } from './resultText.js';

/** Sends a call up, to whichever connection the session has. */
export type Send = (params: Params | undefined, call: CallOptions) => Promise<unknown>;

interface InputRequired {
  readonly inputRequests?: unknown;
  readonly requestState?: unknown;
}

/** Rounds of one call, after which its server is taken for one that never has enough. */
const MAX_ROUNDS = 32;
/** Questions of one round. */
const MAX_QUESTIONS = 100;

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
export async function legacyOverModern({ server, session, params, call }: LegacyCall, send: Send): Promise<unknown> {
  const client = { clientInfo: session.clientInfo, capabilities: acrossEras(session.capabilities ?? {}) };
  const meta = session.logLevel === undefined ? {} : { [META_LOG_LEVEL]: session.logLevel };
  let own: Params = {};
  let begun = false;
  try {
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const changing = changed(params, call, { params: own, meta });
      const given = changing instanceof Promise ? await changing : changing;
      const result = await send(given.params, { ...call, ...given, client });
      begun = true;
      const whole = result instanceof Uint8Array ? result : Buffer.from(JSON.stringify(result));
      const { bytes, resultType } = await legacyResult(whole);
      if (resultType !== 'input_required') return bytes;
      const asked = parseAnswer(whole) as InputRequired;
      const { requestState } = asked;
      own = {
        inputResponses: await answers(server, asked, call),
        ...(requestState === undefined ? {} : { requestState }),
      };
    }
  } catch (error) {
    // A question that finds no room, or a round that is not sent, does not say so of the rounds before.
    if (!begun || !neverRan(error)) throw error;
    throw new OutcomeUnknownError(server, 'the call', 'it had begun', { cause: error });
  }
  throw new RpcError(server, RPC_CODES.internalError, `the server asked for input ${MAX_ROUNDS} times without an end`);
}

/** Asks the client everything at once, as it may be asked; when one question fails, the others are given up too. */
async function answers(server: string, { inputRequests }: InputRequired, call: CallOptions): Promise<Params> {
  const requests = requestsIn(server, inputRequests);
  const { onRequest } = call;
  if (onRequest === undefined && requests.length > 0) {
    throw new RpcError(server, RPC_CODES.internalError, 'the server needs input that the client cannot give');
  }
  const failed = new AbortController();
  const signal = call.signal === undefined ? failed.signal : AbortSignal.any([signalOf(call.signal), failed.signal]);
  const all = requests.map(
    async (request): Promise<[unknown, unknown]> => [request.id, await onRequest?.(request, { signal, server })],
  );
  try {
    return Object.fromEntries(await Promise.all(all)) as Params;
  } catch (error) {
    failed.abort(error);
    throw error;
  }
}

/** The server's questions, of which none is asked when one is no question. */
function requestsIn(server: string, given: unknown): readonly ServerRequest[] {
  if (given === undefined) return [];
  if (!isObject(given)) throw new ProtocolError(server, 'its inputRequests are no object');
  const entries = Object.entries(given);
  if (entries.length > MAX_QUESTIONS) {
    throw new ProtocolError(server, `it asks ${entries.length} questions at once, ${MAX_QUESTIONS} may be`);
  }
  return entries.map(([id, request]) => {
    const { method, params } = isObject(request) ? request : {};
    if (typeof method !== 'string') throw new ProtocolError(server, `its inputRequests.${show(id)} has no method`);
    return { id, method, ...(isObject(params) ? { params } : {}) };
  });
}
