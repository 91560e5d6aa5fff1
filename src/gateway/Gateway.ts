import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { systemClock } from '../core/clock.js';
import { type Closeable, type CloseOptions, CloseScope } from '../core/close/CloseScope.js';
import type { GracePeriod } from '../core/close/GracePeriod.js';
import { ClosedError, OutcomeUnknownError } from '../core/errors.js';
import { type Logger, silentLogger } from '../core/logger.js';
import { Health } from '../shutdown/Health.js';
import { InFlight } from '../shutdown/InFlight.js';
import { type TrackedHttpServer, trackHttpServer } from '../shutdown/TrackedHttpServer.js';
import type { AggregateEndpoint } from './aggregate/AggregateEndpoint.js';
import { makeAggregate } from './aggregate/makeAggregate.js';
import type { Endpoint } from './endpoint/Endpoint.js';
import { ServerEndpoint } from './endpoint/ServerEndpoint.js';
import { checkGatewayOptions, type GatewayOptions, type GatewayPool, type GatewaySettings } from './GatewayOptions.js';
import { HeldBytes } from './http/HeldBytes.js';
import { addressOf, type GatewayAddress, targetOf } from './http/paths.js';
import { allowOrigin, answerPreflight, isPreflight } from './http/request/cors.js';
import { Guard, type Refused } from './http/request/guard.js';
import { sendFailure } from './http/respond.js';
import { ServerChecks } from './http/ServerChecks.js';
import { StreamableHttp } from './http/StreamableHttp.js';
import { NoticeFrames } from './http/stream/Frame.js';
import { ModernClients } from './modern/ModernClients.js';
import { ModernHttp } from './modern/ModernHttp.js';
import { PoolRelay } from './PoolRelay.js';
import { failureOf, INVALID_REQUEST } from './rpc/failure.js';
import { Callers } from './session/Callers.js';
import { SessionTable } from './session/SessionTable.js';

/** Counters count from the start. */
export interface GatewayStats {
  readonly sessions: number;
  /** HTTP requests being answered, open streams not among them. */
  readonly inFlight: number;
  readonly requests: number;
  /** Requests refused for their Host or Origin. */
  readonly refused: number;
  /** Notifications that no client read, or that a client was too slow for. */
  readonly droppedNotices: number;
  /** Bytes held now for all clients: bodies on their way, large answers and notifications not taken. */
  readonly heldBytes: number;
}

/** How long answers that were written at the last moment may take to leave. */
const FLUSH_MS = 500;
const MAX_SWEEP_MS = 60_000;
/** A call that takes longer, up to twice as long, gets a stream. */
const STREAM_AFTER_MS = 2_500;

/**
 * A proxy over a pool's servers: Streamable HTTP of the legacy era with sessions. `/mcp` has the tools and prompts of all
 * servers as `server__name`; `/servers/:name/mcp` is one server as it is. Nothing of a client's headers reaches a server.
 * `close()` answers what is in flight first; the pool stays open.
 */
export class Gateway implements Closeable, AsyncDisposable {
  readonly #pool: GatewayPool;
  readonly #settings: GatewaySettings;
  readonly #logger: Logger;
  readonly #scope: CloseScope;
  readonly #guard: Guard;
  readonly #modern: ModernHttp;
  readonly #callers: Callers;
  readonly #held: HeldBytes;
  readonly #checks: ServerChecks;
  readonly #sessions: SessionTable;
  readonly #inFlight: InFlight;
  readonly #http: StreamableHttp;
  readonly #aggregate: AggregateEndpoint;
  readonly #servers = new Map<string, ServerEndpoint>();
  readonly #relay: PoolRelay;
  readonly #server: Server;
  readonly #tracked: TrackedHttpServer;
  readonly #closing = new AbortController();
  #listening: Promise<GatewayAddress> | undefined;
  #requests = 0;
  #refused = 0;
  #dropped = 0;

  /** @throws OptionError */
  constructor(options: GatewayOptions) {
    const { pool, logger = silentLogger, clock = systemClock } = options;
    const settings = checkGatewayOptions(options);
    this.#pool = pool;
    this.#settings = settings;
    this.#logger = logger;
    this.#scope = new CloseScope('Gateway', {
      clock,
      logger,
      onRefuse: () => this.#refuse(),
      onDrain: () => this.#inFlight.idle(),
      onDeadline: () => this.#fail(),
      onRelease: (grace) => this.#release(grace),
    });
    this.#guard = new Guard(settings);
    const held = new HeldBytes(settings.maxBufferedBytes);
    const clients = new ModernClients(this.#closing.signal);
    this.#callers = new Callers({
      pool,
      logger,
      clock,
      clients,
      callIdleMs: settings.callIdleMs,
      makeRoom: (uses) => this.#sessions.endAbandoned(uses),
    });
    const onDrop = (): void => void this.#dropped++;
    this.#modern = new ModernHttp({ clients, settings, held, logger, onDrop });
    this.#held = held;
    this.#sessions = new SessionTable(
      { ...settings, held, frames: new NoticeFrames(), onEnd: (session) => this.#callers.release(session) },
      clock,
    );
    this.#inFlight = new InFlight({ name: 'gateway requests', clock, logger });
    const inFlight = this.#inFlight;
    const own = {
      get stopping() {
        return inFlight.refusing;
      },
    };
    this.#checks = new ServerChecks(options.health ?? new Health({ plan: own, clock }), pool);
    this.#http = new StreamableHttp({
      sessions: this.#sessions,
      settings,
      logger,
      held,
      onDrop,
      modern: this.#modern,
      onNotification: (session, method, params) => {
        if (method !== 'notifications/initialized') this.#callers.notify(session, method, params);
      },
    });
    const { aggregate, parts } = makeAggregate(options, {
      callers: this.#callers,
      sessions: () => this.#sessions.of(aggregate),
      listTimeoutMs: settings.listTimeoutMs,
      signal: this.#closing.signal,
      logger,
      clock,
    });
    this.#aggregate = aggregate;
    for (const [name, part] of parts) this.#scope.own(name, part);
    this.#server = createServer({ keepAliveTimeout: settings.keepAliveTimeoutMs }, (request, response) =>
      this.#onRequest(request, response),
    );
    this.#server.maxConnections = settings.maxSockets;
    this.#tracked = trackHttpServer(this.#server, { clock });
    this.#relay = new PoolRelay({ pool, callers: this.#callers, sessions: this.#sessions, aggregate });
  }

  get stats(): GatewayStats {
    return {
      sessions: this.#sessions.size,
      inFlight: this.#inFlight.size,
      requests: this.#requests,
      refused: this.#refused,
      droppedNotices: this.#dropped + this.#sessions.dropped,
      heldBytes: this.#held.held,
    };
  }

  /** Its counters and whether it still takes requests, for a debug page. */
  inspect(): GatewayStats & { readonly refusing: boolean; readonly servers: readonly string[] } {
    return { ...this.stats, refusing: this.#inFlight.refusing, servers: this.#pool.servers() };
  }

  /** Starts to listen; every call gives the same promise. Rejects with the system's error, such as `EADDRINUSE`. */
  listen(): Promise<GatewayAddress> {
    if (this.#scope.closing) return Promise.reject(new ClosedError('Gateway'));
    this.#listening ??= this.#scope.track(this.#listen());
    return this.#listening;
  }

  /** From now on responses say `Connection: close`, so that clients move on before they are refused. */
  announce(): void {
    this.#tracked.announce();
  }

  /** No new connections; requests on those there are get 503. What is in flight goes on. */
  refuse(): void {
    this.#inFlight.refuse();
    this.#tracked.refuse();
  }

  /** Ends the streams of clients, which would never end by themselves. */
  endStreams(): void {
    for (const session of this.#sessions) session.endStream();
    this.#modern.endStreams();
    this.#tracked.endStreams();
  }

  /** `announce`, `refuse`, `endStreams`; then what is in flight gets the grace. */
  close(options?: CloseOptions): Promise<void> {
    return this.#scope.close(options);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #listen(): Promise<GatewayAddress> {
    const { host, port, sessionIdleMs, heartbeatMs } = this.#settings;
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen({ host, port }, () => {
        this.#server.off('error', reject);
        // Out of file descriptors, for example: unheard it would end the process.
        this.#server.on('error', (error) => this.#logger.error({ error }, 'the server failed'));
        resolve();
      });
    });
    this.#scope.assertOpen();
    this.#scope.every('expire sessions', Math.min(sessionIdleMs, MAX_SWEEP_MS), () => this.#sessions.expire());
    this.#scope.every('streams for long calls', Math.min(STREAM_AFTER_MS, heartbeatMs), () => {
      for (const session of this.#sessions) session.tick();
      this.#modern.tick();
    });
    this.#scope.every('heartbeat', heartbeatMs, () => {
      for (const session of this.#sessions) session.heartbeat();
      this.#modern.heartbeat();
    });
    return addressOf(this.#server);
  }

  #onRequest(request: IncomingMessage, response: ServerResponse): void {
    this.#requests++;
    if (this.#checks.concerns(request.url ?? '')) {
      this.#probe(request, response);
      return;
    }
    const endpoint = this.#admit(request, response);
    if (endpoint === undefined) return;
    // A stream has no end of its own: it is not work in flight.
    if (request.method !== 'GET') {
      const entry = this.#inFlight.begin(`${request.method} ${request.url}`);
      response.once('close', () => entry.end());
    }
    this.#scope
      .track(this.#http.handle(endpoint, request, response))
      .catch((error: unknown) => this.#onFailure(error, response));
  }

  /** Probes are asked also while calls are refused: that is when they are needed. */
  #probe(request: IncomingMessage, response: ServerResponse): void {
    const refusal = this.#guard.probeRefusal(request.headers.host, request.headers.origin, request.rawHeaders);
    if (refusal === undefined) this.#checks.handle(request, response);
    else this.#forbid(response, refusal);
  }

  #forbid(response: ServerResponse, { status, why }: Refused): void {
    this.#refused++;
    sendFailure(response, status, { code: INVALID_REQUEST, message: why });
  }

  /** What a request is for; one that must not come in is answered here. */
  #admit(request: IncomingMessage, response: ServerResponse): Endpoint | undefined {
    const { headers, url = '' } = request;
    const refusal = this.#guard.refusal(headers.host, headers.origin, request.rawHeaders);
    if (refusal !== undefined) {
      this.#forbid(response, refusal);
      return undefined;
    }
    allowOrigin(request, response);
    if (isPreflight(request)) {
      answerPreflight(request, response);
      return undefined;
    }
    if (this.#inFlight.refusing) {
      const failure = failureOf(new ClosedError('Gateway'), this.#logger);
      sendFailure(response, 503, failure, { connection: 'close', 'retry-after': '1' });
      return undefined;
    }
    const endpoint = this.#endpoint(url);
    if (endpoint !== undefined) return endpoint;
    sendFailure(response, 404, { code: INVALID_REQUEST, message: 'nothing here: try /mcp or /servers/:name/mcp' });
    return undefined;
  }

  #onFailure(error: unknown, response: ServerResponse): void {
    // The request itself is destroyed as soon as its body was read.
    if (response.destroyed || response.req.socket.destroyed) {
      this.#logger.debug({ error }, 'a client went away');
      response.destroy();
    } else {
      sendFailure(response, 500, failureOf(error, this.#logger));
    }
  }

  #endpoint(url: string): Endpoint | undefined {
    const target = targetOf(url);
    if (target === undefined) return undefined;
    const { server: name } = target;
    if (name === undefined) return this.#aggregate;
    const known = this.#servers.get(name);
    if (known !== undefined) return known;
    if (!this.#pool.hasServer(name)) return undefined;
    const endpoint: ServerEndpoint = new ServerEndpoint({
      pool: this.#pool,
      server: name,
      callers: this.#callers,
      sessions: () => this.#sessions.of(endpoint),
    });
    this.#servers.set(name, endpoint);
    return endpoint;
  }

  #refuse(): void {
    this.#closing.abort(new ClosedError('Gateway'));
    this.refuse();
    this.endStreams();
  }

  /** The grace is over: calls are answered with what is known of them, and clients that still send a body are cut off. */
  #fail(): void {
    const reason = new OutcomeUnknownError('gateway', 'the call', 'the proxy shut down');
    for (const session of this.#sessions) session.failInFlight(reason);
    this.#modern.failInFlight(reason);
    this.#callers.close(reason);
    void this.#tracked.close({ graceMs: FLUSH_MS }).catch(() => undefined); // told by `#release`
  }

  async #release(grace: GracePeriod): Promise<void> {
    this.#relay[Symbol.dispose]();
    this.#checks[Symbol.dispose]();
    await this.#sessions.close();
    await this.#tracked.close({ graceMs: Math.max(grace.remainingMs, FLUSH_MS) });
  }
}
