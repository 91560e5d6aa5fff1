import { costsMore, MAX_ANSWER_COST } from '../../connection/channel/codec/parsingCost.js';
import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import { Refusal } from './failure.js';

/** What an answer says, where the gateway itself has to know. @throws Refusal when it would hold up everything else to read it */
export function parseAnswer(text: string): unknown {
  if (!costsMore(text, MAX_ANSWER_COST)) return JSON.parse(text);
  const message = "the server's answer has too many values to be read";
  throw new Refusal(RPC_CODES.internalError, message, { code: 'ERR_PROTOCOL', retryable: false });
}
