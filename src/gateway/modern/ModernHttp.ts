import type { IncomingMessage, ServerResponse } from 'node:http';
import { TakenResult } from '../../connection/channel/large/ResultSink.js';
import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import { MODERN_VERSIONS } from '../../connection/protocol/versions.js';
import type { Clock } from '../../core/clock.js';
import { RpcError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { inGroups } from '../../core/time/inSlices.js';
import { Cancellation } from '../../core/wait/Cancellation.js';
import { IdTable } from '../../core/wait/IdTable.js';
import { RequestTracer } from '../../observe/requests/requestTrace.js';
import type { McpPool } from '../../pool/McpPool.js';
import { modernResult } from '../bridge/resultText.js';
import type { CallOptions, Endpoint } from '../endpoint/Endpoint.js';
import type { GatewaySettings } from '../GatewayOptions.js';
import type { HeldBytes } from '../http/HeldBytes.js';
import { sendError } from '../http/holdAnswer.js';
import { accepts } from '../http/request/accepts.js';
import { sendEmpty } from '../http/respond.js';
import type { EventStreamBounds } from '../http/stream/EventStream.js';
import { PostReply } from '../http/stream/PostReply.js';
import { checkNames, type Incoming, idTextOf, progressTokenOf } from '../rpc/envelope.js';
import { type Failure, failureOf, Refusal } from '../rpc/failure.js';
import { addressOrigin } from '../session/origin.js';
import type { ReasonOf } from '../session/SessionCall.js';
import type { SubscriptionRoom } from '../session/SessionSubscriptions.js';
import type { Admission } from '../users/Admission.js';
import { scopeStatus } from '../users/scopes/ScopeRules.js';
import { checkRequest, isUnfit, type ModernRequest, statusOf } from './checkRequest.js';
import { Listens } from './Listens.js';
import type { ModernClients } from './ModernClients.js';
import { paramProblem } from './ParamChecks.js';

/** Why a call ends whose client closed the response: in this era that cancels it. */
const DISCONNECTED = Object.freeze({ reason: 'the client closed the response' });

interface ModernCall {
  readonly id: number;
  readonly reply: PostReply;
  /** Aborted when its client has gone. */
  readonly gone: Cancellation;
  /** Which one it goes to, once that is known. */
  server: string | undefined;
}

export interface ModernHttpOptions {
  /** What it is a front of, as traces name it. */
  readonly pool: McpPool;
  readonly clients: ModernClients;
  readonly settings: Pick<GatewaySettings, 'maxStreamBufferBytes' | 'stallTimeoutMs' | 'maxSessions'>;
  readonly held: HeldBytes;
  /** For the URIs of subscriptions. */
  readonly room: SubscriptionRoom;
  /** Asks again whether subscriptions may stay; undefined where all clients are alike. */
  readonly admission: Admission | undefined;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly onDrop: () => void;
}

/** Streamable HTTP of the modern era (2026-07-28): every request by itself, without sessions. */
export class ModernHttp {
  readonly #options: ModernHttpOptions;
  readonly #listens: Listens;
  readonly #bounds: EventStreamBounds;
  readonly #open = new IdTable<ModernCall>();
  #calls = 0;

  constructor(options: ModernHttpOptions) {
    this.#options = options;
    const { clients, settings, held, room, admission, logger, clock, onDrop } = options;
    this.#bounds = { ...settings, held };
    this.#listens = new Listens({
      clients,
      bounds: this.#bounds,
      maxOpen: settings.maxSessions,
      room,
      admission,
      logger,
      clock,
      onDrop,
    });
  }

  /** Answers one POST; `incoming` is undefined where its body is an array. Never rejects. */
  async handle(
    endpoint: Endpoint,
    incoming: Incoming | undefined,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    const { held, settings } = this.#options;
    const refuse = (idText: string, status: number, failure: Failure): void =>
      sendError(response, idText, status, failure, { held, ...settings });
    // Its client left while a large body was read in turns: no 'close' would come any more to end what begins here.
    if (response.destroyed) return;
    if (incoming === undefined) return refuse('null', 400, invalid('one message a request'));
    switch (incoming.kind) {
      case 'invalid':
        return refuse(JSON.stringify(incoming.id), 400, invalid(incoming.why));
      case 'response':
        return refuse('null', 400, invalid('answers come as inputResponses of a request'));
      case 'notification':
        return sendEmpty(response, 202);
      case 'request': {
        const checked = checkRequest(request.headers, incoming);
        const idText = idTextOf(incoming);
        if (isUnfit(checked)) return refuse(idText, checked.status, checked.failure);
        if (checked.method === 'subscriptions/listen') return this.#listens.open(endpoint, checked, response);
        return this.#call(endpoint, checked, request, response);
      }
    }
  }

  /** Where calls in flight are answered. */
  get replies(): readonly PostReply[] {
    return this.#open.values().map(({ reply }) => reply);
  }

  /** Keeps what stands between from cutting subscriptions. */
  heartbeat(): void {
    this.#listens.heartbeat();
  }

  /** Subscriptions that are open. */
  get streams(): number {
    return this.#listens.size;
  }

  /** Ends the subscriptions, which would never end by themselves. */
  endStreams(): void {
    this.#listens.end();
  }

  failInFlight(reasonOf: ReasonOf): void {
    void inGroups(this.#open.values(), ({ gone, server }) => gone.abort(reasonOf(server)));
  }

  async #call(
    endpoint: Endpoint,
    { method, params, paramsText, client, ...rest }: ModernRequest,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    const { pool, clients, logger, onDrop } = this.#options;
    const idText = idTextOf(rest);
    const gone = new Cancellation();
    const events = accepts(request.headers.accept, 'text/event-stream');
    const reply = new PostReply(response, { requests: 1, batch: false, events, bounds: this.#bounds, onDrop });
    const open: ModernCall = { id: ++this.#calls, reply, gone, server: undefined };
    this.#open.add(open);
    // Once it is answered no one listens any more.
    response.on('close', () => gone.abort(DISCONNECTED));
    const trace = RequestTracer.begin(() => {
      const { headers } = request;
      const cancel = (reason: unknown): void => gone.abort(reason);
      return {
        pool,
        method,
        params,
        era: 'modern',
        protocolVersion: MODERN_VERSIONS[0],
        transport: 'http',
        headers,
        cancel,
      };
    });
    try {
      checkNames(method, params, 'modern');
      const progressToken = progressTokenOf(params, paramsText);
      const call: CallOptions = {
        signal: gone,
        request: open,
        client,
        address: addressOrigin(request.socket?.remoteAddress),
        parent: trace,
        paramsText,
        onProgress: progressToken === undefined ? undefined : (progress) => reply.progress(progressToken, progress),
        onLarge: (onRoom) => reply.large(idText, onRoom),
        onNotification: (notice) => reply.notify(notice.method, notice.params),
        onTool: (tool, args) => {
          const problem = paramProblem(request.headers, tool, args, paramsText);
          if (problem !== undefined) throw new Refusal(RPC_CODES.headerMismatch, problem);
        },
      };
      const result = await endpoint.request(endpoint.anyone ?? clients.anyone, method, params, call);
      const asItCame = result instanceof Uint8Array || result instanceof TakenResult;
      const prepared = reply.prepared(result);
      if (prepared !== undefined) reply.result(idText, await prepared);
      else reply.result(idText, asItCame ? result : completed(method, result));
      trace?.answered(result);
    } catch (error) {
      trace?.failed(error);
      if (error === DISCONNECTED) return reply.giveUp();
      const failure = failureOf(error, logger);
      const { status = statusOf(failure.code, error instanceof RpcError), headers } = scopeStatus(error) ?? {};
      reply.failure(idText, failure, status, headers);
    } finally {
      this.#open.delete(open);
    }
  }
}

/** What the gateway itself puts together says so, too, unless it does already. */
function completed(method: string, result: unknown): unknown {
  return typeof result === 'object' && result !== null && 'resultType' in result
    ? result
    : modernResult(method, result);
}

const invalid = (message: string): Failure => ({ code: RPC_CODES.invalidRequest, message });
