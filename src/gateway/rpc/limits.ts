import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import { Refusal } from './failure.js';

/** Of a resource that a client subscribes to: a subscription keeps its URI for as long as it lasts. */
export const MAX_URI_LENGTH = 8_192;

/** Of what a client has repeated to it with each message: the token of a call's progress, the id of a subscription. */
export const MAX_LABEL_LENGTH = 1_024;

/** The URI that a client names. @throws Refusal */
export function checkUri(given: unknown): string {
  if (typeof given === 'string' && given.length <= MAX_URI_LENGTH) return given;
  throw new Refusal(RPC_CODES.invalidParams, `uri is a string of ${MAX_URI_LENGTH} characters or fewer`);
}
