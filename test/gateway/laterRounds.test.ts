import { expect, test } from 'vitest';
import { NotSentError, OutcomeUnknownError, QueueFullError, RpcError } from '../../src/core/errors.js';
import { legacyOverModern } from '../../src/gateway/bridge/LegacyOverModern.js';
import type { CallOptions, Downstream } from '../../src/gateway/endpoint/Endpoint.js';

const ASKS = { resultType: 'input_required', inputRequests: { a: { method: 'elicitation/create' } } };

/** A call whose server asks for input, and whose next round fails. */
function begun(failure: Error, onRequest: CallOptions['onRequest'] = async () => ({ action: 'accept' })) {
  let rounds = 0;
  const send = async (): Promise<unknown> => {
    if (rounds++ > 0) throw failure;
    return ASKS;
  };
  const session = { clientInfo: undefined, capabilities: {} } as unknown as Downstream;
  return legacyOverModern({ server: 's', session, params: { name: 'a' }, call: { onRequest } as CallOptions }, send);
}

test('a call whose server has asked for input has begun, whatever becomes of a later round or a question', async () => {
  const refused = new NotSentError('s', 'it is gone');
  await expect(begun(refused)).rejects.toMatchObject({ code: 'ERR_OUTCOME_UNKNOWN', cause: refused });
  const full = (): Promise<never> => Promise.reject(new QueueFullError('questions', 1, 1));
  await expect(begun(refused, full)).rejects.toThrow(OutcomeUnknownError);
  const answer = new RpcError('s', -32602, 'no');
  await expect(begun(answer)).rejects.toBe(answer);
});
