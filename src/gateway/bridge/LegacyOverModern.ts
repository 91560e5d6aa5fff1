import type { ServerRequest } from '../../connection/protocol/messages.js';
import { META_LOG_LEVEL } from '../../connection/protocol/metaKeys.js';
import { RpcError } from '../../core/errors.js';
import type { CallOptions, Downstream } from '../endpoint/Endpoint.js';
import type { Params } from '../rpc/envelope.js';
import { INTERNAL_ERROR } from '../rpc/failure.js';
import { changed } from './paramsFor.js';
import { legacyResult } from './resultText.js';

/** Sends a call up, to whichever connection the session has. */
export type Send = (params: Params | undefined, call: CallOptions) => Promise<unknown>;

interface InputRequired {
  readonly resultType?: unknown;
  readonly inputRequests?: Readonly<Record<string, { readonly method?: unknown; readonly params?: unknown }>>;
  readonly requestState?: unknown;
}

/** Rounds of one call, after which its server is taken for one that never has enough. */
const MAX_ROUNDS = 32;

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
  const client = { clientInfo: session.clientInfo, capabilities: session.capabilities ?? {} };
  const meta = session.logLevel === undefined ? {} : { [META_LOG_LEVEL]: session.logLevel };
  let own: Params = {};
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const given = changed(params, call, { params: own, meta });
    const result = await send(given.params, { ...call, ...given, client });
    const text = result instanceof Uint8Array ? Buffer.from(result).toString('utf8') : JSON.stringify(result);
    const asked = inputRequired(text);
    if (asked === undefined) return Buffer.from(legacyResult(text));
    const { requestState } = asked;
    own = {
      inputResponses: await answers(server, asked, call),
      ...(requestState === undefined ? {} : { requestState }),
    };
  }
  throw new RpcError(server, INTERNAL_ERROR, `the server asked for input ${MAX_ROUNDS} times without an end`);
}

function inputRequired(text: string): InputRequired | undefined {
  if (!text.includes('"input_required"')) return undefined;
  const result = JSON.parse(text) as InputRequired;
  return result.resultType === 'input_required' ? result : undefined;
}

/** Asks the client everything at once, as it may be asked. */
async function answers(server: string, { inputRequests = {} }: InputRequired, call: CallOptions): Promise<Params> {
  const signal = call.signal ?? new AbortController().signal;
  const all = Object.entries(inputRequests).map(async ([key, { method, params }]): Promise<[string, unknown]> => {
    if (call.onRequest === undefined || typeof method !== 'string') {
      throw new RpcError(server, INTERNAL_ERROR, 'the server needs input that the client cannot give');
    }
    const request: ServerRequest = { id: key, method, ...(params === undefined ? {} : { params: params as Params }) };
    return [key, await call.onRequest(request, { signal })];
  });
  return Object.fromEntries(await Promise.all(all));
}
