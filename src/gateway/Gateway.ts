import { createServer, type Server } from 'node:http';
import type { Middleware } from '../connection/calls/Middleware.js';
import { type Closeable, type CloseOptions, CloseScope } from '../core/close/CloseScope.js';
import type { GracePeriod } from '../core/close/GracePeriod.js';
import { ClosedError, OutcomeUnknownError } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import { sharedAbort } from '../core/wait/sharedAbort.js';
import type { Curation } from '../registry/config/curation/Curation.js';
import { InFlight } from '../shutdown/InFlight.js';
import type { TrackedHttpServer } from '../shutdown/TrackedHttpServer.js';
import type { Endpoint } from './endpoint/Endpoint.js';
import { EndpointMiddleware } from './endpoint/EndpointMiddleware.js';
import { type GatewayOptions, type GatewayPool, type GatewaySettings, gatewayParts } from './GatewayOptions.js';
import type { GatewayStats } from './GatewayStats.js';
import { HeldBytes } from './http/HeldBytes.js';
import { Guard } from './http/request/guard.js';
import { healthOf, ServerChecks } from './http/ServerChecks.js';
import { StreamableHttp } from './http/StreamableHttp.js';
import { ModernClients } from './modern/ModernClients.js';
import { ModernHttp } from './modern/ModernHttp.js';
import { type FetchContext, fetchOnce } from './mount/fetchOnce.js';
import type { GatewayHandler } from './mount/GatewayHandler.js';
import { HttpFront } from './mount/HttpFront.js';
import { type GatewayAddress, listenAt } from './mount/listenAt.js';
import { trackSockets } from './mount/trackSockets.js';
import { PoolRelay } from './PoolRelay.js';
import { joinReplicas } from './replicas/joinReplicas.js';
import type { Params } from './rpc/envelope.js';
import { isNotification } from './rpc/methods.js';
import type { Session } from './session/Session.js';
import type { SessionTable } from './session/SessionTable.js';
import { startSweeps } from './session/startSweeps.js';
import { SseFront } from './sse/SseFront.js';
import type { Status } from './status/Status.js';
import { type OpenStatus, statusOf } from './status/statusOf.js';
import { type StdioFrontOptions, serveStdio } from './stdio/serveStdio.js';
import { makeSessions } from './tickets/makeSessions.js';
import { admissionOf } from './users/admissionOf.js';
import { Tenants } from './users/Tenants.js';

/** How long answers that were written at the last moment may take to leave. */
const FLUSH_MS = 500;

/**
 * A proxy over a pool's servers, over Streamable HTTP of both eras. `/mcp` has the tools and prompts of all servers as
 * `server__name`; `/servers/:name/mcp` is one server as it is. It listens by itself, or is mounted in a server that there is, by
 * `handler` or `fetch`. Nothing of a client's headers reaches a server. `close()` answers what is in flight first, whichever
 * way it came; the pool stays open.
 */
export class Gateway implements Closeable, AsyncDisposable {
  readonly #pool: GatewayPool;
  readonly #settings: GatewaySettings;
  readonly #logger: Logger;
  readonly #scope: CloseScope;
  readonly #modern: ModernHttp;
  readonly #sse: SseFront | undefined;
  readonly #held: HeldBytes;
  readonly #checks: ServerChecks;
  readonly #sessions: SessionTable;
  readonly #inFlight: InFlight;
  readonly #front: HttpFront;
  readonly #openStatus: OpenStatus;
  #status: Status | undefined;
  readonly #tenants: Tenants;
  readonly #middleware: EndpointMiddleware;
  #onEndpoint: ((endpoint: Endpoint, server?: string) => void) | undefined;
  readonly #relay: PoolRelay;
  readonly #server: Server;
  readonly #tracked: TrackedHttpServer;
  readonly #closing = sharedAbort();
  #listening: Promise<GatewayAddress> | undefined;
  #ticking = false;
  #dropped = 0;

  /** @throws OptionError */
  constructor(options: GatewayOptions) {
    const { settings, pool, link, logger, clock } = gatewayParts(options, this.#closing.signal);
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
    this.#middleware = new EndpointMiddleware(logger, clock);
    const held = new HeldBytes(settings.maxBufferedBytes, logger, clock);
    const onDrop = (): void => void this.#dropped++;
    const clients = new ModernClients(this.#closing.signal, undefined);
    this.#held = held;
    const onEnd = (session: Session): void => this.#tenants.ofSession(session)?.callers.release(session);
    this.#sessions = makeSessions(options, settings, { held, link, logger, clock, onEnd });
    const room = this.#sessions.subscriptionRoom;
    const admission = admissionOf(options, { logger, scope: this.#scope, signal: this.#closing.signal });
    this.#modern = new ModernHttp({ pool, clients, settings, held, room, admission, logger, clock, onDrop });
    const inFlight = new InFlight({ name: 'gateway requests', clock, logger });
    this.#inFlight = inFlight;
    this.#checks = new ServerChecks(options.health ?? healthOf(this.#inFlight, clock), pool);
    const own = { ...settings, sessions: this.#sessions, relay: () => this.#relay, clock, logger };
    const replicas = joinReplicas(link, own);
    const shared = {
      replicas,
      pool,
      sessions: this.#sessions,
      settings,
      logger,
      held,
      onDrop,
      onNotification: (session: Session, method: string, params: Params | undefined) => {
        if (method === 'notifications/initialized' || !isNotification(method)) return;
        this.#tenants.ofSession(session)?.callers.notify(session, method, params, session.endpoint.said);
      },
    };
    this.#sse = settings.sse ? new SseFront({ ...shared, inFlight: this.#inFlight, clock }) : undefined;
    this.#tenants = new Tenants({
      scopes: admission?.scopes,
      gateway: options,
      curation: options.curation,
      settings,
      sessions: () => this.#sessions,
      middleware: this.#middleware,
      held,
      logger,
      clock,
      signal: this.#closing.signal,
      onEndpoint: (endpoint, server) => this.#onEndpoint?.(endpoint, server),
    });
    this.#scope.own('tenants', this.#tenants);
    const guard = new Guard(settings);
    this.#openStatus = statusOf(options, settings.host, () => ({ pool, gateway: this, held, guard, inFlight, logger }));
    this.#front = new HttpFront({
      guard,
      status: () => this.#status,
      checks: this.#checks,
      http: new StreamableHttp({ ...shared, modern: this.#modern }),
      sse: this.#sse,
      inFlight: this.#inFlight,
      logger,
      tenants: this.#tenants,
      admission,
      track: (work) => this.#scope.track(work),
    });
    this.#server = createServer({ keepAliveTimeout: settings.keepAliveTimeoutMs }, (request, response) =>
      this.#front.handle(request, response, { mounted: false }),
    );
    this.#tracked = trackSockets(this.#server, settings, held, clock);
    const relayed = { tenants: this.#tenants, sessions: this.#sessions, middleware: this.#middleware, replicas };
    this.#relay = new PoolRelay({ ...relayed, pool, logger, clock, users: admission !== undefined });
  }

  get stats(): GatewayStats {
    return {
      sessions: this.#sessions.size,
      streams: this.#sessions.streams + this.#modern.streams,
      inFlight: this.#inFlight.size,
      connections: this.#tracked.connections,
      requests: this.#front.requests,
      refused: this.#front.refused,
      droppedNotices: this.#dropped + this.#sessions.dropped,
      ...this.#held.stats,
    };
  }

  /** Its counters and whether it still takes requests, for a debug page. */
  inspect(): GatewayStats & { readonly refusing: boolean; readonly servers: readonly string[] } {
    return { ...this.stats, refusing: this.#inFlight.refusing, servers: this.#pool.servers() };
  }

  /** Starts to listen; every call gives the same promise, unless that failed. Rejects with the system's error, such as `EADDRINUSE`. */
  listen(): Promise<GatewayAddress> {
    if (this.#scope.closing) return Promise.reject(new ClosedError('Gateway'));
    this.#listening ??= this.#scope.track(this.#listen()).catch((error: unknown) => {
      this.#listening = undefined;
      throw error;
    });
    return this.#listening;
  }

  /**
   * For a server of your own: a listener of node:http, and a middleware of Express or Connect; Koa and Fastify hand it the raw
   * pair. Below any path: the end of it decides, `/mcp` or `/servers/:name/mcp`. What is not for the gateway goes on to `next`;
   * without one it answers 404, and probes. A body that was parsed already is taken from `req.body`.
   */
  readonly handler: GatewayHandler = (request, response, next) => {
    this.#tick(true);
    this.#front.handle(request, response, { mounted: true, next });
  };

  /**
   * For hosts that speak web standard requests, such as Hono; below any path, like `handler`. Streams both ways; a reader that
   * cancels the body, and the request's signal, end the call. Rejects with an `OptionError` what is no request, and nothing else.
   */
  readonly fetch = (request: Request, context: FetchContext = {}): Promise<Response> => {
    this.#tick(true);
    return fetchOnce(request, context, (own, response) => this.#front.handle(own, response, { mounted: true }));
  };

  /**
   * Has what clients ask from now on, and what they hear and are asked, pass through `middleware`, innermost so far, until
   * disposed. On `/mcp` tools have the names that clients know; what goes to a server passes through its pool's, too.
   */
  use(middleware: Middleware): Disposable {
    return this.#middleware.use(middleware);
  }

  /** Shows clients other tools from now on, and tells them. @throws OptionError; all stays as it was then */
  curate(curation: Curation): void {
    this.#tenants.curate(curation);
  }

  /** Serves one client over stdin and stdout, without listening, until it is gone. Rejects with an `OptionError`. */
  async serveStdio(options: StdioFrontOptions = {}): Promise<void> {
    this.#scope.assertOpen();
    this.#tick(false);
    const { signal } = this.#closing;
    const host = { server: this.#server, admission: this.#front.admission, logger: this.#logger, signal };
    await this.#scope.track(serveStdio({ ...this.#settings, ...host, onDrop: () => void this.#dropped++ }, options));
  }

  /** From now on responses say `Connection: close`, so that clients move on before they are refused. */
  announce(): void {
    this.#front.announced = true;
    this.#tracked.announce();
  }

  /** New requests get 503; what is in flight goes on. No new connections either, unless `listening`. */
  refuse({ listening = false }: { readonly listening?: boolean } = {}): void {
    this.#inFlight.refuse();
    if (listening) this.announce();
    else this.#tracked.refuse();
  }

  /** Ends the streams of clients, which would never end by themselves. In turns, and nothing waits for the last: a close ends all that is left. */
  endStreams(): void {
    void this.#sessions.endStreams().then(() => this.#tracked.endStreams());
    this.#modern.endStreams();
    this.#sse?.endStreams();
    this.#status?.endStreams();
  }

  /** @internal Gives each endpoint there is and each that is to come, once: what a recorder of the testing kit follows. */
  onEndpoint(listener: (endpoint: Endpoint, server?: string) => void): void {
    this.#onEndpoint = listener;
    for (const { endpoints } of this.#tenants) for (const [each, name] of endpoints) listener(each, name);
  }

  /** `announce`, `refuse`, `endStreams`; then what is in flight gets the grace. */
  close(options?: CloseOptions): Promise<void> {
    return this.#scope.close(options);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #listen(): Promise<GatewayAddress> {
    const address = await listenAt(this.#server, this.#settings, this.#logger);
    this.#scope.assertOpen();
    this.#tick(false);
    return address;
  }

  /** From the first request on, by whichever way it comes. */
  #tick(mounted: boolean): void {
    if (!this.#scope.closing) this.#status ??= this.#openStatus(this.#scope, mounted);
    if (this.#ticking || this.#scope.closing) return;
    this.#ticking = true;
    startSweeps(this.#scope, { ...this.#settings, sessions: this.#sessions, modern: this.#modern, sse: this.#sse });
  }

  #refuse(): void {
    this.#closing.abort(new ClosedError('Gateway'));
    this.refuse();
    this.endStreams();
  }

  /** The grace is over: calls are answered with what is known of them, in turns (the end of its session does it else), and bodies are cut off. */
  #fail(): void {
    const reasonOf = (server = 'gateway') => new OutcomeUnknownError(server, 'the call', 'the proxy shut down');
    this.#sessions.failInFlight(reasonOf);
    this.#modern.failInFlight(reasonOf);
    this.#status?.failInFlight(reasonOf());
    for (const { callers } of this.#tenants) callers.close(reasonOf());
    this.#held.cutArriving();
    void this.#tracked.close({ graceMs: FLUSH_MS }).catch(() => undefined); // told by `#release`
  }

  async #release(grace: GracePeriod): Promise<void> {
    for (const each of [this.#relay, this.#status, this.#checks]) each?.[Symbol.dispose]();
    await this.#sessions.close(FLUSH_MS);
    const graceMs = Math.max(grace.remainingMs, FLUSH_MS);
    const mounted = this.#front.close(this.#scope.clock, graceMs);
    await this.#tracked.close({ graceMs }).finally(() => mounted);
    this.#held.cuts.atStop(this.#tracked.unread);
    this.#held.cutArriving();
  }
}
