import type { IncomingMessage, ServerResponse } from 'node:http';
import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import type { Clock } from '../../core/clock.js';
import { endWithSocket, waitsItsTurn } from '../../core/close/endWithSocket.js';
import { QueueFullError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { within } from '../../core/time/within.js';
import type { InFlight } from '../../shutdown/InFlight.js';
import { requestName } from '../../shutdown/names.js';
import type { Endpoint } from '../endpoint/Endpoint.js';
import { holdTurn, holdWaiting } from '../http/holdAnswer.js';
import { type Target, targetOf } from '../http/paths.js';
import { allowOrigin, answerPreflight, isPreflight } from '../http/request/cors.js';
import type { Guard, Refused } from '../http/request/guard.js';
import { itsTurn, laterTurn } from '../http/request/itsTurn.js';
import { mayBeLate, refuseLate } from '../http/request/late.js';
import { watchRequest } from '../http/request/readInTurns.js';
import { sendFailure, watchAnswers } from '../http/respond.js';
import type { ServerChecks } from '../http/ServerChecks.js';
import { statusOfFull } from '../http/SessionFinder.js';
import type { StreamableHttp } from '../http/StreamableHttp.js';
import { failureOf } from '../rpc/failure.js';
import { originOf, ownedBy } from '../session/origin.js';
import type { SseFront } from '../sse/SseFront.js';
import type { Status } from '../status/Status.js';
import type { Admission } from '../users/Admission.js';
import type { User } from '../users/Authenticate.js';
import type { Tenants } from '../users/Tenants.js';

export interface HttpFrontOptions {
  readonly guard: Guard;
  readonly checks: ServerChecks;
  readonly http: StreamableHttp;
  /** The HTTP+SSE transport, where it is served. */
  readonly sse: SseFront | undefined;
  readonly inFlight: InFlight;
  /** The status page, where there is one. */
  readonly status: () => Status | undefined;
  readonly logger: Logger;
  /** What is kept for each principal. */
  readonly tenants: Tenants;
  /** Says who a request comes from; without it all clients are alike. */
  readonly admission: Admission | undefined;
  /** Keeps what is being answered from outliving the gateway. */
  readonly track: <T>(work: Promise<T>) => Promise<T>;
}

/** How long responses that were destroyed may take to close, in ms. */
const GONE_MS = 1_000;
const NO_HTTP2 = 'HTTP/2 is not served here: the host is to serve HTTP/1.1, or to hand requests to gateway.fetch';

/** Of `node:http2`, whose responses tell less of what their client takes. */
const isHttp2 = (request: IncomingMessage): boolean => request.httpVersionMajor === 2 && 'authority' in request;

/** How a request came. */
export interface Arrival {
  /** Through a host's own server, below a path of its choice. */
  readonly mounted: boolean;
  /** Takes what is not for the gateway; without it the gateway answers that, too, and probes. */
  readonly next?: ((error?: unknown) => unknown) | undefined;
}

/** Every HTTP request, from whichever server it came: it is let in, refused, or handed to the transport. */
export class HttpFront {
  /** Requests so far, those that went on to `next` not among them. */
  requests = 0;
  /** Refused for their Host or Origin. */
  refused = 0;
  /** Responses through a host's server say `Connection: close`. */
  announced = false;
  /** The grace is over. */
  #over = false;
  readonly #options: HttpFrontOptions;
  /** Responses through a host's server that are not over. */
  readonly #mounted = new Set<ServerResponse>();
  readonly #onWaiting = (response: ServerResponse, bytes: number): void =>
    holdWaiting(response, bytes, this.#options.http.bounds);

  constructor(options: HttpFrontOptions) {
    this.#options = options;
  }

  /** Says who comes in; undefined where all may. */
  get admission(): Admission | undefined {
    return this.#options.admission;
  }

  handle(request: IncomingMessage, response: ServerResponse, { mounted, next }: Arrival): void {
    const { status, admission, sse, http } = this.#options;
    endWithSocket(response);
    // Whatever a host's own code made of it: nothing is thrown at that.
    if (typeof request.url !== 'string') {
      if (next === undefined) this.#nothing(response);
      else next();
      return;
    }
    watchAnswers(request.socket, this.#onWaiting);
    // A host's own requests may come on its connections, and other protocols.
    if (!mounted) watchRequest(response);
    if (status()?.takes(request, response, mounted) === true) {
      if (mounted) this.#follow(response);
      holdTurn(response, http.bounds);
      return;
    }
    const { url } = request;
    const target = targetOf(url, { mounted, sse: sse !== undefined });
    if (admission?.takes(request, response) === true) {
      holdTurn(response, http.bounds);
      return;
    }
    if (target === undefined && next !== undefined) {
      next();
      return;
    }
    this.requests++;
    if (mounted) this.#follow(response);
    if (isHttp2(request)) {
      sendFailure(response, 505, { code: RPC_CODES.invalidRequest, message: NO_HTTP2 });
      return;
    }
    holdTurn(response, http.bounds);
    // Its client left while something in front worked on it: `close` was told already.
    if (response.destroyed) return;
    if (response.headersSent) {
      this.#answered(response);
      return;
    }
    const turn = waitsItsTurn(response) ? itsTurn(response) : laterTurn(request, http.bounds.held);
    if (turn === undefined) {
      this.#begin(request, response, target, mounted);
      return;
    }
    turn
      .then(() => response.destroyed || this.#begin(request, response, target, mounted))
      .catch((error: unknown) => this.#failed(error, response));
  }

  #begin(request: IncomingMessage, response: ServerResponse, target: Target | undefined, mounted: boolean): void {
    const { checks, admission, inFlight, logger, track } = this.#options;
    if (mounted && this.announced && request.httpVersionMajor === 1) response.setHeader('connection', 'close');
    if (target === undefined && checks.concerns(request.url ?? '')) {
      this.#probe(request, response);
      return;
    }
    if (!this.#admit(request, response, target) || target === undefined) return;
    if (admission === undefined) {
      this.#enter(request, response, target, undefined);
      return;
    }
    const late = inFlight.refusing;
    const user = admission.userOf(request, response, late);
    // Of what comes late nothing is waited for.
    (late ? user : track(user)).then(
      (user) => {
        if (user !== undefined && !response.destroyed) this.#enter(request, response, target, user);
      },
      (error: unknown) => {
        if (inFlight.refusing) refuseLate(response, logger);
        else this.#failed(error, response);
      },
    );
  }

  /** What is left after `graceMs` of responses through a host's server is cut: its server may go on, and their clients read nothing. */
  async close(clock: Clock, graceMs: number): Promise<void> {
    this.#over = true;
    const open = [...this.#mounted];
    const closed = Promise.all(open.map((each) => new Promise((resolve) => void each.once('close', resolve))));
    const closedIn = (timeoutMs: number): Promise<unknown> =>
      within(closed, { clock, timeoutMs }).catch(() => undefined);
    await closedIn(graceMs);
    this.#options.http.bounds.held.cuts.atStop([...this.#mounted].map(({ req }) => requestName(req)));
    for (const response of this.#mounted) response.destroy();
    await closedIn(GONE_MS);
  }

  #follow(response: ServerResponse): void {
    if (response.destroyed) return;
    this.#mounted.add(response);
    response.once('close', () => this.#mounted.delete(response));
  }

  /** A host's own code answers it already: what is not at its end would never come to one. */
  #answered(response: ServerResponse): void {
    if (response.writableEnded) return;
    this.#options.logger.error({ url: response.req.url }, 'an answer was begun before the proxy got the request');
    response.destroy();
  }

  /** Hands it to the endpoint that it is for, among those of its user. */
  #enter(request: IncomingMessage, response: ServerResponse, target: Target, user: User | undefined): void {
    const { inFlight, http, sse, tenants, admission, track, logger } = this.#options;
    const late = inFlight.refusing;
    if (late && !this.#takesLate(request, target)) {
      refuseLate(response, logger);
      return;
    }
    let endpoint: Endpoint | undefined;
    try {
      endpoint = tenants.of(user).endpoints.at(target);
    } catch (error) {
      sendFailure(response, error instanceof QueueFullError ? statusOfFull(error) : 503, failureOf(error, logger));
      return;
    }
    if (endpoint === undefined) {
      this.#nothing(response);
      return;
    }
    // A stream has no end of its own: it is not work in flight.
    if (request.method === 'GET') {
      if (user !== undefined) admission?.follow(response, user);
    } else if (!late) {
      const entry = inFlight.begin(`${request.method} ${request.url}`);
      response.on('close', entry.end);
    }
    ownedBy(response, originOf(endpoint, request.socket?.remoteAddress));
    const front = target.sse === undefined ? http : (sse ?? http);
    track(front.handle(endpoint, request, response, late)).catch((error: unknown) => this.#failed(error, response));
  }

  /** Probes are asked also while calls are refused: that is when they are needed. */
  #probe(request: IncomingMessage, response: ServerResponse): void {
    const { guard, checks } = this.#options;
    const refusal = guard.probeRefusal(request);
    if (refusal === undefined) checks.handle(request, response);
    else this.#forbid(response, refusal);
  }

  #forbid(response: ServerResponse, { status, why }: Refused): void {
    this.refused++;
    sendFailure(response, status, { code: RPC_CODES.invalidRequest, message: why });
  }

  #nothing(response: ServerResponse): void {
    sendFailure(response, 404, {
      code: RPC_CODES.invalidRequest,
      message: 'nothing here: try /mcp or /servers/:name/mcp',
    });
  }

  /** Calls in flight may wait for what their clients answer. */
  #takesLate(request: IncomingMessage, target: Target | undefined): boolean {
    return !this.#over && target !== undefined && mayBeLate(request, target);
  }

  /** Whether a request may come in at all; one that must not is answered here. */
  #admit(request: IncomingMessage, response: ServerResponse, target: Target | undefined): boolean {
    const { guard, inFlight, logger } = this.#options;
    const refusal = guard.refusal(request);
    if (refusal !== undefined) {
      this.#forbid(response, refusal);
      return false;
    }
    allowOrigin(request, response);
    if (isPreflight(request)) {
      answerPreflight(request, response);
      return false;
    }
    if (inFlight.refusing && !this.#takesLate(request, target)) {
      refuseLate(response, logger);
      return false;
    }
    if (target === undefined) this.#nothing(response);
    return true;
  }

  #failed(error: unknown, response: ServerResponse): void {
    const { logger } = this.#options;
    // The request itself is destroyed as soon as its body was read.
    if (response.destroyed || response.req.socket?.destroyed) {
      logger.debug({ error }, 'a client went away');
      response.destroy();
    } else {
      sendFailure(response, 500, failureOf(error, logger));
    }
  }
}
