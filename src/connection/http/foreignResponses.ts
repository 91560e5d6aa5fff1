import { messageOf, ProtocolError } from '../../core/errors.js';
import { utf8Text } from '../../core/text/utf8Text.js';
import type { Call } from '../channel/Call.js';
import { costsMore, maxCostOf } from '../channel/codec/parsingCost.js';
import { excerpt } from '../net/body/statusError.js';
import type { Endpoint, Sent } from '../net/Endpoint.js';

/** An error with no id, alone in the body of a call's response, is that call's. */
export function answerFor(id: number, message: unknown): unknown {
  if (typeof message !== 'object' || message === null || Array.isArray(message)) return message;
  const { error, id: given, method } = message as Record<string, unknown>;
  return error !== undefined && (given === undefined || given === null) && method === undefined
    ? { id, error }
    : message;
}

/** What the whole JSON body of a call's response says. @throws ProtocolError */
export function messageIn(exchange: Sent & { readonly endpoint: Endpoint }, body: Buffer, call: Call): unknown {
  const { server } = exchange.endpoint;
  if (costsMore(body, maxCostOf(call)))
    throw new ProtocolError(server, 'its answer has too many values to be parsed at once');
  try {
    return JSON.parse(utf8Text(body));
  } catch (error) {
    throw new ProtocolError(
      server,
      error instanceof SyntaxError
        ? `its answer is not JSON: ${excerpt(exchange.endpoint.blanked(body, exchange))}`
        : `its answer has ${messageOf(error)}`,
      error,
    );
  }
}

/** Whether a response says that its call was taken, and no more: the answer may come on the stream of the session. */
export const onlyTaken = (status: number, body: Buffer): boolean =>
  status === 202 || body.length === 0 || /^\s*"?(?:accepted|ok)\b\W*$/i.test(body.toString('latin1', 0, 64));
