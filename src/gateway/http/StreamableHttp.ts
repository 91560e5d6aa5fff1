import type { IncomingMessage, ServerResponse } from 'node:http';
import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import { QueueFullError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { inTurnOrNow } from '../../core/time/turns.js';
import type { McpPool } from '../../pool/McpPool.js';
import type { Endpoint } from '../endpoint/Endpoint.js';
import type { GatewaySettings } from '../GatewayOptions.js';
import { isModern } from '../modern/checkRequest.js';
import type { ModernHttp } from '../modern/ModernHttp.js';
import type { Replicas } from '../replicas/Replicas.js';
import {
  BATCH_VERSION,
  cancelledKey,
  capabilitiesProblem,
  type Incoming,
  idTextOf,
  type Params,
  type RequestMessage,
  type ResponseMessage,
} from '../rpc/envelope.js';
import { failureOf } from '../rpc/failure.js';
import { isListen, lostAnswer, type ReadMessages, refusedAnswer } from '../rpc/readMessages.js';
import { ownerOf } from '../session/origin.js';
import type { Session } from '../session/Session.js';
import type { SessionTable } from '../session/SessionTable.js';
import { scopeStatus } from '../users/scopes/ScopeRules.js';
import { answerRequest } from './answerRequest.js';
import type { HeldBytes } from './HeldBytes.js';
import { holdAnswer, sendError, sendHeld } from './holdAnswer.js';
import { accepts } from './request/accepts.js';
import { askNothing, refuseLate } from './request/late.js';
import { ReadingOrder } from './request/ReadingOrder.js';
import { readBody } from './request/readBody.js';
import { bytesOf, RETRY_LATER, refuse, sendEmpty, sendFailure } from './respond.js';
import { NO_SESSION, SessionFinder, statusOfFull } from './SessionFinder.js';
import type { EventStreamBounds } from './stream/EventStream.js';
import { PostReply, type PostReplyOptions } from './stream/PostReply.js';

/** An `initialize` with the id of a session that is gone is this large at most. */
const MAX_STALE_BODY_BYTES = 128 * 1_024;
const CLOSING_BRACE = Buffer.from('}');
const DONE = Promise.resolve();
const TOO_MUCH = Object.freeze({
  code: RPC_CODES.invalidRequest,
  message: 'too much is being worked on at once: try again',
});

export interface StreamableHttpOptions {
  /** What it is a front of, as traces name it. */
  readonly pool: McpPool;
  readonly sessions: SessionTable;
  readonly settings: Pick<
    GatewaySettings,
    'maxBodyBytes' | 'maxStreamBufferBytes' | 'bodyTimeoutMs' | 'stallTimeoutMs'
  >;
  /** Bytes held over all sessions. */
  readonly held: HeldBytes;
  readonly logger: Logger;
  /** Tells other replicas, where there are some. */
  readonly replicas: Replicas | undefined;
  /** Serves what is of the modern era. */
  readonly modern: ModernHttp;
  /** Counts a notification that a slow client lost. */
  readonly onDrop: () => void;
  /** What a client says of itself; no part of the gateway uses it. */
  readonly onNotification: (session: Session, method: string, params: Params | undefined) => void;
}

/** The Streamable HTTP transport of the legacy era, with sessions (MCP 2025-11-25, Transports). */
export class StreamableHttp {
  readonly #options: StreamableHttpOptions;
  readonly #sessions: SessionTable;
  readonly #finder: SessionFinder;
  readonly #settings: StreamableHttpOptions['settings'];
  /** What of answers waits for clients that do not read them. */
  readonly bounds: EventStreamBounds;
  readonly #logger: Logger;
  readonly #order: ReadingOrder;

  constructor(options: StreamableHttpOptions) {
    this.#options = options;
    this.#sessions = options.sessions;
    this.#finder = new SessionFinder(options.sessions, options.replicas, options.logger);
    this.#settings = options.settings;
    this.bounds = { held: options.held, ...options.settings };
    this.#logger = options.logger;
    this.#order = new ReadingOrder(options.held);
  }

  /** Resolves when the response was handed to the socket; `late`: what belongs to a call in flight is taken alone. Rejects only when the client went away. */
  handle(endpoint: Endpoint, request: IncomingMessage, response: ServerResponse, late: boolean): Promise<void> {
    // The modern era has neither streams of their own nor sessions.
    if (request.method !== 'POST' && isModern(request.headers, undefined)) {
      sendEmpty(response, 405, { allow: 'POST' });
      return DONE;
    }
    switch (request.method) {
      case 'POST':
        return this.#post(endpoint, request, response, late);
      case 'GET':
        return this.#get(endpoint, request, response);
      case 'DELETE':
        return this.#finder.remove(endpoint, request, response);
      default:
        sendEmpty(response, 405, { allow: 'GET, POST, DELETE' });
        return DONE;
    }
  }

  async #post(endpoint: Endpoint, request: IncomingMessage, response: ServerResponse, late: boolean): Promise<void> {
    if (!accepts(request.headers.accept, 'application/json') && !accepts(request.headers.accept, 'text/event-stream')) {
      return refuse(response, 406, 'accept must name application/json and text/event-stream');
    }
    // A session that is not there is told before its body is read, unless the body may be one that opens a new one.
    const stale = this.#finder.isStale(endpoint, request);
    const maxBytes = stale ? Math.min(MAX_STALE_BODY_BYTES, this.#settings.maxBodyBytes) : this.#settings.maxBodyBytes;
    const { held } = this.#options;
    const owner = ownerOf(response);
    const timeoutMs = this.#settings.bodyTimeoutMs;
    const mayAnswer = !stale && request.headers['mcp-session-id'] !== undefined;
    const body = await readBody(request, { maxBytes, timeoutMs, held, owner, mayAnswer });
    const lost = (answer: ResponseMessage | undefined): Promise<void> | void =>
      answer && this.#finder.answered(endpoint, answer, request, response);
    if ('gone' in body) return;
    if ('status' in body && stale && body.status === 413) return refuse(response, 404, NO_SESSION);
    if ('status' in body) {
      await lost(lostAnswer(body.edges, body.why));
      return refuse(response, body.status, body.why, body.code);
    }
    const reading = this.#order.read(body.text, request.headers, owner);
    const read = reading instanceof Promise ? await reading : reading;
    if (read === undefined) return sendFailure(response, held.refusalOf(owner), TOO_MUCH);
    if ('failure' in read) {
      await lost(lostAnswer(read.edges, read.failure.message));
      return sendFailure(response, read.status, read.failure);
    }
    if (late && !askNothing(read)) return refuseLate(response, this.#logger);
    if (isListen(read) && body.given !== true) return this.#answer(endpoint, read, request, response);
    // Until it is answered a body is held, also when its client has gone: a call that hangs for long may cost its client nothing.
    if (!held.takeFor(owner, read.heldBytes)) {
      const [only] = read.messages;
      const status = held.refusalOf(owner);
      if (only?.kind === 'response' && !read.batch) await lost(refusedAnswer(only.id, TOO_MUCH.message));
      if (read.batch || only?.kind !== 'request') return sendFailure(response, status, TOO_MUCH);
      return sendError(response, idTextOf(only), status, TOO_MUCH, this.bounds, RETRY_LATER);
    }
    try {
      await this.#answer(endpoint, read, request, response);
    } finally {
      held.giveBackFor(owner, read.heldBytes);
    }
  }

  #answer(
    endpoint: Endpoint,
    { messages, batch, modern }: ReadMessages,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> | void {
    const [first] = messages;
    if (modern) return this.#options.modern.handle(endpoint, batch ? undefined : first, request, response);
    if (first?.kind === 'request' && first.method === 'initialize' && !batch) {
      return this.#initialize(endpoint, response, first);
    }
    const found = this.#finder.find(endpoint, request, response);
    if (!(found instanceof Promise)) return this.#answerIn(found, messages, batch, request, response);
    return found.then((session) => this.#answerIn(session, messages, batch, request, response));
  }

  /** `session`: undefined when there was none, and the request was answered by that. Arrays, each of which may be refused a hundred times, go on as they fit into a turn. */
  #answerIn(
    session: Session | undefined,
    messages: readonly Incoming[],
    batch: boolean,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> | void {
    if (session === undefined) return;
    if (batch && (session.protocolVersion !== BATCH_VERSION || messages.length === 0)) {
      return refuse(response, 400, 'one message a request');
    }
    if (batch) return inTurnOrNow(() => this.#dispatch(session, messages, true, request, response));
    return this.#dispatch(session, messages, batch, request, response);
  }

  async #initialize(endpoint: Endpoint, response: ServerResponse, request: RequestMessage): Promise<void> {
    const { params } = request;
    const idText = idTextOf(request);
    const problem = capabilitiesProblem(params);
    if (problem !== undefined)
      return sendError(response, idText, 400, { code: RPC_CODES.invalidParams, message: problem }, this.bounds);
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    const client = { address: response.req.socket?.remoteAddress };
    const opened: { session: Session | undefined } = { session: undefined };
    try {
      const result = await this.#sessions.initialize(endpoint, params, client, opened, gone.signal);
      const { session } = opened;
      if (session === undefined || response.destroyed) throw gone.signal.reason;
      const answer = [Buffer.from(`{"jsonrpc":"2.0","id":${idText},"result":`), ...result, CLOSING_BRACE];
      const bytes = bytesOf(answer);
      const heldBytes = holdAnswer(response, bytes, this.bounds);
      if (heldBytes === undefined) throw new QueueFullError('answers that wait for clients that do not read', bytes, 0);
      sendHeld(response, 200, answer, this.bounds, { heldBytes, headers: { 'mcp-session-id': session.id } });
    } catch (error) {
      const { session } = opened;
      if (session !== undefined) await this.#sessions.end(session);
      if (response.destroyed) return;
      const failure = failureOf(error, this.#logger);
      if (session !== undefined || !(error instanceof QueueFullError)) {
        const { status = 200, headers } = scopeStatus(error) ?? {};
        return sendError(response, idText, status, failure, this.bounds, headers);
      }
      sendError(response, idText, statusOfFull(error), failure, this.bounds, RETRY_LATER);
    }
  }

  #dispatch(
    session: Session,
    messages: readonly Incoming[],
    batch: boolean,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> | void {
    const [only] = messages;
    if (!batch && only?.kind === 'request') {
      const begin: PostReplyOptions['begin'] = (own, silent) => session.callStream(own, silent, idTextOf(only));
      return this.#request(session, only, request, this.#replyTo(request, response, 1, begin));
    }
    const { replicas } = this.#options;
    for (const each of messages) {
      if (each.kind === 'response' && !session.answered(each.id, each)) {
        if (replicas === undefined)
          return refuse(response, 400, 'the question of that id was asked by another replica');
        replicas.answered(session, each);
      }
      if (each.kind !== 'notification') continue;
      if (each.method === 'notifications/cancelled') {
        const id = cancelledKey(each);
        if (id !== undefined && !session.cancel(id, each.params?.['reason'])) replicas?.cancelled(session, id);
      } else this.#options.onNotification(session, each.method, each.params);
    }
    const requests = messages.filter((each) => each.kind === 'request' || each.kind === 'invalid').length;
    if (requests === 0) return sendEmpty(response, 202);
    if (!batch && only?.kind === 'invalid') return refuse(response, 400, only.why);
    const reply = this.#replyTo(request, response, requests);
    const calls = messages.map((each) => {
      if (each.kind === 'request') return this.#request(session, each, request, reply, ownerOf(response));
      if (each.kind === 'invalid')
        reply.failure(JSON.stringify(each.id), { code: RPC_CODES.invalidRequest, message: each.why });
      return undefined;
    });
    return Promise.all(calls).then(() => undefined);
  }

  #request(
    session: Session,
    message: RequestMessage,
    { headers }: IncomingMessage,
    reply: PostReply,
    arrayOf?: string,
  ): Promise<void> {
    const { pool, logger, replicas } = this.#options;
    return answerRequest({ pool, logger, session, message, headers, replicas, arrayOf }, reply);
  }

  /** Without `begin` the answer is that of a batch. */
  #replyTo(
    { headers }: IncomingMessage,
    response: ServerResponse,
    requests: number,
    begin?: PostReplyOptions['begin'],
  ): PostReply {
    const events = accepts(headers.accept, 'text/event-stream');
    const { onDrop } = this.#options;
    return new PostReply(response, {
      requests,
      batch: begin === undefined,
      events,
      bounds: this.bounds,
      onDrop,
      begin,
    });
  }

  async #get(endpoint: Endpoint, request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (!accepts(request.headers.accept, 'text/event-stream')) {
      return refuse(response, 406, 'accept must name text/event-stream');
    }
    const session = await this.#finder.find(endpoint, request, response);
    if (session === undefined) return;
    const last = request.headers['last-event-id'];
    if (typeof last !== 'string' || last === '') session.openStream(response);
    else if (!(await session.resume(last, response)))
      refuse(response, 400, 'last-event-id names no stream that can be resumed');
  }
}
