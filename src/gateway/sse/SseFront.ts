import type { IncomingMessage, ServerResponse } from 'node:http';
import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import type { Clock } from '../../core/clock.js';
import type { Logger } from '../../core/logger.js';
import type { McpPool } from '../../pool/McpPool.js';
import type { InFlight } from '../../shutdown/InFlight.js';
import type { Endpoint } from '../endpoint/Endpoint.js';
import type { GatewaySettings } from '../GatewayOptions.js';
import { answerRequest } from '../http/answerRequest.js';
import type { HeldBytes } from '../http/HeldBytes.js';
import { addressFor, queryOf } from '../http/paths.js';
import { accepts } from '../http/request/accepts.js';
import { askNothing, refuseLate } from '../http/request/late.js';
import { ReadingOrder } from '../http/request/ReadingOrder.js';
import { readBody } from '../http/request/readBody.js';
import { refuse, sendEmpty, sendFailure } from '../http/respond.js';
import { placeOf } from '../http/stream/Resumable.js';
import {
  BATCH_VERSION,
  cancelledKey,
  type Incoming,
  idTextOf,
  type Params,
  type RequestMessage,
  type ResponseMessage,
} from '../rpc/envelope.js';
import { failureOf, Refusal } from '../rpc/failure.js';
import { lostAnswer, refusedAnswer } from '../rpc/readMessages.js';
import { originOf } from '../session/origin.js';
import type { Session } from '../session/Session.js';
import type { SessionTable } from '../session/SessionTable.js';
import { openedBy } from './openedBy.js';
import { SseClient } from './SseClient.js';
import { SseReply } from './SseReply.js';

export interface SseFrontOptions {
  /** What it is a front of, as traces name it. */
  readonly pool: McpPool;
  readonly sessions: SessionTable;
  readonly settings: Pick<
    GatewaySettings,
    'maxBodyBytes' | 'maxStreamBufferBytes' | 'bodyTimeoutMs' | 'stallTimeoutMs'
  >;
  /** Bytes held over all sessions. */
  readonly held: HeldBytes;
  readonly inFlight: InFlight;
  readonly logger: Logger;
  readonly clock: Clock;
  /** Counts a notification that a slow client lost. */
  readonly onDrop: () => void;
  /** What a client says of itself. */
  readonly onNotification: (session: Session, method: string, params: Params | undefined) => void;
}

const TOO_MUCH = 'too much is being worked on at once: try again';
/** Clients that have not initialised yet. */
const MAX_NEW = 100;
/** For so long one keeps its place before it says anything, in ms. */
const FIRST_WORD_MS = 2_000;
const FULL = Object.freeze({
  code: RPC_CODES.internalError,
  message: `${MAX_NEW} clients are about to begin: try again`,
});
/** So long a new client may take to initialise, and one whose connection broke off to come back, in ms. */
const ABSENT_MS = 30_000;

/**
 * The HTTP+SSE transport (2024-11-05), for clients that know no other: a GET opens the stream that all messages for the client
 * travel on, and its first event says where the client posts its own. A client is known to the endpoint, and so to the
 * principal, whose stream it opened, and to no other.
 */
export class SseFront {
  readonly #options: SseFrontOptions;
  readonly #clients = new Map<string, SseClient>();
  readonly #order: ReadingOrder;

  constructor(options: SseFrontOptions) {
    this.#options = options;
    this.#order = new ReadingOrder(options.held);
  }

  /** Resolves when the request itself was answered; `late`: what belongs to a call in flight is taken alone. Rejects only when the client went away. */
  async handle(endpoint: Endpoint, request: IncomingMessage, response: ServerResponse, late: boolean): Promise<void> {
    if (request.method === 'GET') return this.#open(endpoint, request, response);
    const id = queryOf(request.url).get('sessionId');
    // What posts here without having been told to is a client that tries the newer transport first.
    if (request.method !== 'POST' || id === null) return sendEmpty(response, 405, { allow: 'GET' });
    const client = this.#clients.get(id);
    if (client === undefined || client.endpoint !== endpoint)
      return refuse(response, 404, 'no such session: connect again');
    return this.#post(client, request, response, late);
  }

  /** Forgets those that did not initialise, and ends the sessions of those that have gone. */
  expire(): void {
    const { sessions, clock } = this.#options;
    for (const client of [...this.#clients.values()]) {
      const { session, stream } = client;
      const missed = session === undefined ? !stream.busy : !stream.open;
      if (!missed || clock.now() - client.sinceMs < ABSENT_MS) continue;
      if (session !== undefined) void sessions.end(session);
      this.#forget(client);
    }
  }

  /** Ends the streams on which no call is to be answered. */
  endStreams(): void {
    for (const { stream } of this.#clients.values()) stream.cut();
  }

  async #open(endpoint: Endpoint, request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (!accepts(request.headers.accept, 'text/event-stream')) {
      refuse(response, 406, 'accept must name text/event-stream');
      return;
    }
    const last = request.headers['last-event-id'];
    const place = typeof last === 'string' ? placeOf(last) : undefined;
    const known = [...this.#clients.values()].find(
      (each) => each.endpoint === endpoint && each.stream.id === place?.stream && each.session !== undefined,
    );
    const client = known ?? this.#enter(endpoint, request);
    if (client === undefined) return sendFailure(response, 503, FULL, { 'retry-after': '1' });
    const seq = known === undefined ? undefined : place?.seq;
    const back = client.stream.connect(response, addressFor(request, client.id), seq);
    if (back === undefined) client.session?.hear(client.stream);
    response.once('close', () => {
      if (client.stream.open) return;
      client.sinceMs = this.#options.clock.now();
      if (client.session === undefined) this.#forget(client);
    });
    if (back === undefined) return;
    await back;
    client.session?.hear(client.stream);
  }

  /** Undefined where there is no room. */
  #enter(endpoint: Endpoint, { socket }: IncomingMessage): SseClient | undefined {
    const address = socket?.remoteAddress;
    const { settings, held, clock } = this.#options;
    const bounds = { ...settings, held };
    const origin = originOf(endpoint, address);
    const fresh = [...this.#clients.values()].filter((each) => each.session === undefined);
    if (fresh.length >= MAX_NEW && !this.#makeRoom(fresh, origin)) return undefined;
    const client = new SseClient({ endpoint, origin, address, bounds, nowMs: clock.now() });
    this.#clients.set(client.id, client);
    return client;
  }

  /**
   * The oldest of the principal, or address, that has most makes room, so that no client locks others out. For one more of its own none does that
   * is about to say its first word.
   */
  #makeRoom(fresh: readonly SseClient[], newcomer: string): boolean {
    const counts = new Map<string, number>();
    for (const { origin } of fresh) counts.set(origin, (counts.get(origin) ?? 0) + 1);
    const [rich, most] = [...counts].reduce((a, b) => (b[1] > a[1] ? b : a));
    const ofRich = fresh.filter(({ origin }) => origin === rich);
    const isLate = ({ stream, sinceMs }: SseClient): boolean =>
      !stream.busy && this.#options.clock.now() - sinceMs >= FIRST_WORD_MS;
    const oldest = (counts.get(newcomer) ?? 0) < most ? ofRich[0] : ofRich.find(isLate);
    if (oldest !== undefined) this.#forget(oldest);
    return oldest !== undefined;
  }

  #forget(client: SseClient): void {
    this.#clients.delete(client.id);
    client.gone.abort();
    client.stream.cut();
    client.stream.forget();
  }

  async #post(client: SseClient, request: IncomingMessage, response: ServerResponse, late: boolean): Promise<void> {
    const { settings, held } = this.#options;
    const { maxBodyBytes: maxBytes, bodyTimeoutMs: timeoutMs } = settings;
    const { origin } = client;
    const mayAnswer = client.session !== undefined;
    const body = await readBody(request, { maxBytes, timeoutMs, held, owner: origin, mayAnswer });
    const lost = (answer: ResponseMessage | undefined): unknown =>
      answer && client.session?.answered(answer.id, answer);
    if ('gone' in body) return;
    if ('status' in body) {
      lost(lostAnswer(body.edges, body.why));
      return refuse(response, body.status, body.why, body.code);
    }
    // A client's messages are taken in the order in which they came, however large one is.
    const read = await this.#order.read(body.text, { 'mcp-session-id': client.id }, origin);
    if (read === undefined) return refuse(response, held.refusalOf(origin), TOO_MUCH);
    if ('failure' in read) {
      lost(lostAnswer(read.edges, read.failure.message));
      return sendFailure(response, read.status, read.failure);
    }
    if (late && !askNothing(read)) return refuseLate(response, this.#options.logger);
    const { messages, batch, heldBytes } = read;
    const problem = messages.find((each) => each.kind === 'invalid');
    if (problem?.kind === 'invalid') return refuse(response, 400, problem.why);
    if (batch && client.session?.protocolVersion !== BATCH_VERSION)
      return refuse(response, 400, 'one message a request');
    if (!held.takeFor(origin, heldBytes)) {
      for (const each of messages) if (each.kind === 'response') lost(refusedAnswer(each.id, TOO_MUCH));
      return refuse(response, held.refusalOf(origin), TOO_MUCH);
    }
    sendEmpty(response, 202);
    try {
      await Promise.all(messages.map((each) => this.#take(client, each, request)));
    } finally {
      held.giveBackFor(origin, heldBytes);
    }
  }

  /** Never rejects. */
  async #take(client: SseClient, message: Incoming, request: IncomingMessage): Promise<void> {
    const { session } = client;
    if (message.kind === 'request') return this.#answer(client, message, request);
    if (session === undefined || message.kind === 'invalid') return;
    if (message.kind === 'response') session.answered(message.id, message);
    else if (message.method === 'notifications/cancelled')
      session.cancel(cancelledKey(message), message.params?.['reason']);
    else this.#options.onNotification(session, message.method, message.params);
  }

  async #answer(client: SseClient, message: RequestMessage, { headers }: IncomingMessage): Promise<void> {
    const { pool, logger, held, inFlight, onDrop } = this.#options;
    const { stream } = client;
    const reply = new SseReply(stream, client.origin, held, onDrop);
    const entry = inFlight.begin(`${message.method} over SSE`);
    stream.begin();
    try {
      const session = client.session ?? (await this.#initialised(client, message, reply));
      if (session !== undefined) await answerRequest({ pool, logger, session, message, headers }, reply);
    } finally {
      stream.finish();
      entry.end();
    }
  }

  /**
   * Opens the session, by `initialize`; undefined when the request is answered by that. Libraries open a stream that broke off
   * again by themselves, and go on without a word: also where this process is another than before, so that one that says
   * nothing of itself is a client that can do nothing.
   */
  async #initialised(client: SseClient, message: RequestMessage, reply: SseReply): Promise<Session | undefined> {
    const { sessions, logger } = this.#options;
    const idText = idTextOf(message);
    try {
      if (message.method === 'ping') return void reply.result(idText, {});
      if (message.method === 'server/discover')
        throw new Refusal(RPC_CODES.methodNotFound, 'method not found: server/discover');
      // While one request opens it, others wait for it, and there is no second one.
      if (client.opening !== undefined && message.method !== 'initialize') return await client.opening;
      if (client.opening !== undefined) throw new Refusal(RPC_CODES.invalidRequest, 'initialize comes once');
      const opened = openedBy(message, client, sessions);
      client.opening = opened.then(({ session }) => this.#enterSession(client, session));
      const session = await client.opening.finally(() => {
        client.opening = undefined;
      });
      const { result } = await opened;
      if (result === undefined) return session;
      reply.parts(idText, result);
    } catch (error) {
      reply.failure(idText, failureOf(error, logger));
    }
    return undefined;
  }

  #enterSession(client: SseClient, session: Session): Session {
    if (!this.#clients.has(client.id)) {
      void this.#options.sessions.end(session);
      throw new Refusal(RPC_CODES.invalidRequest, 'the client has left');
    }
    client.session = session;
    session.hear(client.stream);
    session.signal.addEventListener('abort', () => this.#forget(client), { once: true });
    return session;
  }
}
