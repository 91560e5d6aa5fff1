import type { IncomingMessage, ServerResponse } from 'node:http';
import { QueueFullError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import type { Endpoint } from '../endpoint/Endpoint.js';
import type { Replicas } from '../replicas/Replicas.js';
import { PROTOCOL_VERSIONS, type ResponseMessage } from '../rpc/envelope.js';
import { failureOf } from '../rpc/failure.js';
import { OF_ADDRESS, OF_USER, originOf } from '../session/origin.js';
import type { Session } from '../session/Session.js';
import type { SessionTable } from '../session/SessionTable.js';
import { refuse, sendEmpty, sendFailure } from './respond.js';

export const NO_SESSION = 'no such session: initialize again';

/** The sessions that requests name, by `mcp-session-id`. A request without one is answered here. */
export class SessionFinder {
  readonly #sessions: SessionTable;
  readonly #replicas: Replicas | undefined;
  readonly #logger: Logger;

  constructor(sessions: SessionTable, replicas: Replicas | undefined, logger: Logger) {
    this.#sessions = sessions;
    this.#replicas = replicas;
    this.#logger = logger;
  }

  /** Whether a request names a session that there is not: so much is known before its body is read. */
  isStale(endpoint: Endpoint, { headers }: IncomingMessage): boolean {
    const id = headers['mcp-session-id'];
    if (typeof id !== 'string' || this.#sessions.find(id, endpoint) !== undefined) return false;
    return this.#sessions.keyOf(id, endpoint) === undefined;
  }

  /** The session of a request, taken up if it was opened elsewhere; undefined when the request was answered. */
  find(
    endpoint: Endpoint,
    request: IncomingMessage,
    response: ServerResponse,
  ): Session | undefined | Promise<Session | undefined> {
    const id = this.#idOf(request, response);
    if (id === undefined) return undefined;
    const known = this.#sessions.find(id, endpoint);
    if (known !== undefined) return known;
    return this.#replicas === undefined
      ? this.#takeUp(id, endpoint, response)
      : this.#takeUpAsNoted(id, endpoint, response, this.#replicas);
  }

  /** Hands an answer to the question that it is for, wherever that was asked. A request without a session is answered here. */
  async answered(
    endpoint: Endpoint,
    answer: ResponseMessage,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    const session = await this.find(endpoint, request, response);
    if (session !== undefined && !session.answered(answer.id, answer)) this.#replicas?.answered(session, answer);
  }

  async #takeUpAsNoted(
    id: string,
    endpoint: Endpoint,
    response: ServerResponse,
    replicas: Replicas,
  ): Promise<Session | undefined> {
    const key = this.#sessions.keyOf(id, endpoint);
    const notes = key === undefined ? undefined : await replicas.notesOf(key);
    // Another request of it may have been faster.
    const known = this.#sessions.find(id, endpoint);
    if (known !== undefined) return known;
    if (notes === undefined) {
      if (key !== undefined) this.#sessions.endedElsewhere(key);
      refuse(response, 404, NO_SESSION);
      return undefined;
    }
    const session = this.#takeUp(id, endpoint, response);
    if (session !== undefined) replicas.follow(session, notes);
    return session;
  }

  #takeUp(id: string, endpoint: Endpoint, response: ServerResponse): Session | undefined {
    try {
      const session = this.#sessions.takeUp(id, endpoint, response.req.socket?.remoteAddress);
      if (session === undefined) refuse(response, 404, NO_SESSION);
      return session;
    } catch (error) {
      if (!(error instanceof QueueFullError)) throw error;
      sendFull(response, error, this.#logger);
      return undefined;
    }
  }

  /** DELETE: its client ends it. */
  async remove(endpoint: Endpoint, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const id = this.#idOf(request, response);
    if (id === undefined) return;
    const key = await this.#sessions.remove(id, endpoint);
    if (key === undefined) {
      refuse(response, 404, NO_SESSION);
      return;
    }
    this.#replicas?.ended(key, originOf(endpoint, request.socket?.remoteAddress));
    sendEmpty(response, 200);
  }

  #idOf({ headers }: IncomingMessage, response: ServerResponse): string | undefined {
    const id = headers['mcp-session-id'];
    const version = headers['mcp-protocol-version'];
    if (version !== undefined && !PROTOCOL_VERSIONS.includes(String(version))) {
      refuse(response, 400, `protocol version not supported; these are: ${PROTOCOL_VERSIONS.join(', ')}`);
      return undefined;
    }
    if (typeof id === 'string') return id;
    refuse(response, 400, 'mcp-session-id is missing: initialize first');
    return undefined;
  }
}

/** No session was opened or taken up: what stands between client and gateway is to see that too, and whether it is its client's share that is full. */
export function statusOfFull({ what }: QueueFullError): 429 | 503 {
  return what === OF_ADDRESS || what === OF_USER ? 429 : 503;
}

function sendFull(response: ServerResponse, error: QueueFullError, logger: Logger): void {
  sendFailure(response, statusOfFull(error), failureOf(error, logger));
}
