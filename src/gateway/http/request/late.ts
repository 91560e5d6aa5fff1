import type { IncomingMessage, ServerResponse } from 'node:http';
import { ClosedError } from '../../../core/errors.js';
import type { Logger } from '../../../core/logger.js';
import { failureOf } from '../../rpc/failure.js';
import type { ReadMessages } from '../../rpc/readMessages.js';
import { CLOSING } from '../../stdio/answers.js';
import type { Target } from '../paths.js';
import { sendFailure } from '../respond.js';

/** Whether a request that comes once the gateway closes may belong to a call in flight; its body says whether it does. */
export const mayBeLate = ({ method, headers }: IncomingMessage, target: Target): boolean =>
  method === 'POST' && (target.sse !== undefined || headers['mcp-session-id'] !== undefined);

/** Whether they ask for nothing: answers to what servers asked, cancellations, what a client says of itself. */
export const askNothing = ({ messages }: ReadMessages): boolean =>
  messages.every(({ kind }) => kind === 'response' || kind === 'notification');

/** New requests are for another gateway. */
export function refuseLate(response: ServerResponse, logger: Logger): void {
  const failure = failureOf(new ClosedError('Gateway'), logger);
  sendFailure(response, 503, failure, { connection: 'close', 'retry-after': '1', ...CLOSING });
}
