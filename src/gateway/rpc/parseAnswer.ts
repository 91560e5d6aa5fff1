import { costsMore, MAX_ANSWER_COST, MAX_READ_BYTES } from '../../connection/channel/codec/parsingCost.js';
import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import { utf8Text } from '../../core/text/utf8Text.js';
import { Refusal } from './failure.js';

/** What an answer says, as bytes or text, where the gateway itself has to know. @throws Refusal when it would hold up everything else to read it */
export function parseAnswer(answer: string | Uint8Array): unknown {
  if (answer.length > MAX_READ_BYTES) throw tooLargeToRead(answer.length);
  const text = typeof answer === 'string' ? answer : utf8Text(Buffer.from(answer));
  if (!costsMore(text, MAX_ANSWER_COST)) return JSON.parse(text);
  const message = "the server's answer has too many values to be read";
  throw new Refusal(RPC_CODES.internalError, message, { code: 'ERR_PROTOCOL', retryable: false });
}

/** `bytes`: how many there are of it at the least. */
export const tooLargeToRead = (bytes: number): Refusal =>
  new Refusal(
    RPC_CODES.internalError,
    `the gateway has to read the server's answer, of which ${bytes} bytes came: it may have ${MAX_READ_BYTES} (fixed)`,
    { code: 'ERR_MESSAGE_TOO_LARGE', retryable: false },
  );
