import type { IncomingHttpHeaders } from 'node:http';
import type { RequestHandler } from '../../connection/protocol/messages.js';
import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import type { Logger } from '../../core/logger.js';
import type { McpPool } from '../../pool/McpPool.js';
import type { CallOptions } from '../endpoint/Endpoint.js';
import type { Replicas } from '../replicas/Replicas.js';
import { checkNames, idKey, idTextOf, progressTokenOf, type RequestMessage } from '../rpc/envelope.js';
import { failureOf, Refusal } from '../rpc/failure.js';
import type { Send } from '../session/ClientRequests.js';
import type { Reply } from '../session/Reply.js';
import type { Session } from '../session/Session.js';
import { CancelledByClient, type SessionCall } from '../session/SessionCall.js';
import { scopeStatus } from '../users/scopes/ScopeRules.js';
import { arrayTurn } from './request/itsTurn.js';
import { traceOf } from './traceOf.js';

export interface Asked {
  /** What it is asked of, as traces name it. */
  readonly pool: McpPool;
  readonly logger: Logger;
  readonly session: Session;
  readonly message: RequestMessage;
  readonly headers: IncomingHttpHeaders;
  /** Other replicas, which follow what it sets. */
  readonly replicas?: Replicas | undefined;
  /** Whose it is, of one that came in an array with others: they begin in turns. */
  readonly arrayOf?: string | undefined;
}

/** By themselves: a question may wait for longer than its call, and keeps nothing of that. */
const askedIn =
  (session: Session, reply: Reply): RequestHandler =>
  (asked, context) =>
    session.answerFor(asked, context, offersTo(new WeakRef(reply)));
const offersTo =
  (reply: WeakRef<Reply>): Send =>
  (message) =>
    reply.deref()?.offer(message) ?? false;

/** Answers a request of a session, other than the one that opened it, in `reply`. Never rejects. */
export async function answerRequest(asking: Asked, reply: Reply): Promise<void> {
  const { pool, logger, session, message, headers, replicas, arrayOf } = asking;
  const { method, params, paramsText } = message;
  const idText = idTextOf(message);
  const trace = traceOf(pool, session, message, headers);
  const answer = (result: unknown): void => {
    reply.result(idText, result);
    trace?.answered(result);
  };
  let call: SessionCall | undefined;
  try {
    call = session.begin(idKey(message), reply);
    if (method === 'ping') return answer({});
    if (method === 'initialize') throw new Refusal(RPC_CODES.invalidRequest, 'initialize comes alone, and once');
    checkNames(method, params, 'legacy');
    const progressToken = progressTokenOf(params, paramsText);
    if (arrayOf !== undefined) {
      await arrayTurn(arrayOf);
      call.throwIfAborted();
    }
    const options: CallOptions = {
      signal: call,
      request: call,
      parent: trace,
      paramsText,
      onProgress: progressToken === undefined ? undefined : (progress) => reply.progress(progressToken, progress),
      onLarge: (onRoom) => reply.large?.(idText, onRoom),
      onNotification: (notice) => reply.notify(notice.method, notice.params),
      onRequest: askedIn(session, reply),
    };
    const ask = (): Promise<unknown> => session.endpoint.request(session, method, params, options);
    const result = await (replicas === undefined ? ask() : replicas.asking(session, method, params, ask));
    const prepared = reply.prepared?.(result);
    answer(prepared === undefined ? result : await prepared);
  } catch (error) {
    if (error instanceof CancelledByClient) {
      trace?.aborted(error);
      reply.giveUp();
    } else {
      trace?.failed(error);
      const { status, headers } = scopeStatus(error) ?? {};
      reply.failure(idText, failureOf(error, logger), status, headers);
    }
  } finally {
    if (call !== undefined) session.finish(call);
  }
}
