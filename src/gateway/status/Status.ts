import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { systemClock } from '../../core/clock.js';
import type { CloseScope } from '../../core/close/CloseScope.js';
import { waitsItsTurn } from '../../core/close/endWithSocket.js';
import type { Logger } from '../../core/logger.js';
import { inTurnOrNow } from '../../core/time/turns.js';
import { within } from '../../core/time/within.js';
import { packageVersion } from '../../core/version.js';
import { Instrument } from '../../observe/Instrument.js';
import type { GatewayFigures } from '../../observe/instrumentOptions.js';
import { EventLoopDelay } from '../../observe/metrics/EventLoopDelay.js';
import { Scrapes } from '../../observe/metrics/Scrapes.js';
import type { McpPool } from '../../pool/McpPool.js';
import type { InFlight } from '../../shutdown/InFlight.js';
import type { HeldBytes } from '../http/HeldBytes.js';
import type { Guard } from '../http/request/guard.js';
import { itsTurn } from '../http/request/itsTurn.js';
import { JSON_TYPE, sendEmpty, sendText } from '../http/respond.js';
import { OpenStreams } from '../users/OpenStreams.js';
import { StatusActions } from './actions/StatusActions.js';
import { NO_PAGE, pageOf, type StatusPage } from './pageFile.js';
import { isForwarded, refusalOf } from './refusal.js';
import type { StatusData, StatusSnapshot } from './StatusData.js';
import { STEP_MS, StatusHistory } from './StatusHistory.js';
import type { CheckedStatus } from './StatusOptions.js';
import { StatusStreams } from './StatusStreams.js';
import { openCalls, serverRows } from './snapshot.js';
import { Timeline } from './Timeline.js';

export interface StatusParts {
  readonly pool: McpPool;
  readonly gateway: {
    readonly stats: GatewayFigures & { readonly requests: number };
    inspect(): { readonly refusing: boolean };
  };
  readonly held: HeldBytes;
  readonly inFlight: InFlight;
  readonly guard: Guard;
  /** Knows the names of this machine alone. */
  readonly local: Guard;
  readonly logger: Logger;
}

/** How long the user's own function may take. */
const AUTHENTICATE_MS = 10_000;
/** How often an open page is told. */
const TICK_MS = 1_000;
const LOCAL_ONLY =
  'this page is for this machine alone, by its own name (localhost), unless status.authenticate says who may see it\n';
const PATH = /^\/(status(?:\/(?:act|events|data\.json|tools))?|metrics)(?:\?|$)/;

/** The page at `/status`, its data, and `/metrics`. Nothing of it is there while the gateway's option `status` is off. */
export class Status implements Disposable {
  readonly #options: CheckedStatus;
  readonly #parts: StatusParts;
  readonly #instrument: Instrument;
  readonly #delay = new EventLoopDelay();
  readonly #history: StatusHistory;
  readonly #timeline: Timeline;
  readonly #streams = new StatusStreams();
  readonly #actions: StatusActions;
  /** Of this process: what acts must have read it from a page of ours. */
  readonly #token = randomBytes(24).toString('base64url');
  readonly #startedAt = systemClock.wallNow();
  readonly #scrapes = new Scrapes(() => this.#instrument.collect());
  /** Where someone says who may see them. */
  #rights: OpenStreams | undefined;
  #page: Promise<StatusPage | undefined> | undefined;

  constructor(options: CheckedStatus, parts: StatusParts) {
    this.#options = options;
    this.#parts = parts;
    const { pool, gateway, held, inFlight, logger } = parts;
    this.#instrument = new Instrument({ pool, gateway, ...(options.limiter && { limiter: options.limiter }) });
    this.#history = new StatusHistory(pool, (server) => this.#instrument.series(server));
    this.#timeline = new Timeline(pool, (event) => this.#streams.send('event', event));
    this.#actions = new StatusActions({
      pool,
      held,
      inFlight,
      logger,
      token: this.#token,
      instrument: this.#instrument,
      note: (server, text) => this.#timeline.add('operator', server, text),
    });
  }

  /**
   * Answers a request that is for it; false for any other. Below a host's own path only where `authenticate` says who may: what
   * the host listens on is not known here.
   */
  takes(request: IncomingMessage, response: ServerResponse, mounted: boolean): boolean {
    const [, page] = PATH.exec(request.url ?? '') ?? [];
    if (page === undefined || (mounted && this.#options.authenticate === undefined)) return false;
    if (page === 'metrics' ? !this.#options.metrics : !this.#options.page) return false;
    void this.#handle(page, request, response);
    return true;
  }

  /** Nothing here is ever for a page of another origin. Never rejects. */
  async #handle(page: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.setHeader('cache-control', 'no-store');
    response.setHeader('x-content-type-options', 'nosniff');
    response.setHeader('referrer-policy', 'no-referrer');
    try {
      // A client that does not read has no more made for it than one answer.
      if (waitsItsTurn(response)) await itsTurn(response);
      if (response.destroyed) return;
      // A scraper asks by address, as probes do; a page never does.
      const { guard, local } = this.#parts;
      const foreign = page === 'metrics' ? guard.probeRefusal(request) : guard.refusal(request);
      // Through a front on this machine come others, by a name that is allowed for `/mcp`.
      const open = page === 'metrics' || this.#options.authenticate !== undefined;
      if (!open && foreign === undefined && (isForwarded(request) || local.refusal(request) !== undefined))
        return sendText(response, 403, 'text/plain; charset=utf-8', LOCAL_ONLY);
      const refusal = foreign?.status ?? refusalOf(request) ?? (await this.#unauthenticated(request));
      if (refusal !== undefined) {
        const headers = refusal === 401 ? { 'www-authenticate': 'Basic realm="mcp-poolkit", charset="UTF-8"' } : {};
        return sendEmpty(response, refusal, headers);
      }
      // Many ask at once, and some have left.
      await inTurnOrNow(() => (response.destroyed ? undefined : this.#answer(page, request, response)));
    } catch (error) {
      this.#parts.logger.error({ error }, 'the status page failed');
      if (!response.headersSent) sendEmpty(response, 500);
      else response.destroy();
    }
  }

  /** Looks at the servers and tells open pages how they stand, until the scope closes. */
  watch(scope: CloseScope): void {
    if (this.#options.authenticate !== undefined) this.#rights = new OpenStreams(scope, this.#parts.logger);
    scope.every('status history', STEP_MS, () => this.#look());
    scope.every('status pages', TICK_MS, () => this.#tick());
  }

  /** A look for the charts. */
  #look(): void {
    const at = systemClock.wallNow();
    const points = this.#history.look(at);
    this.#streams.send('points', { at, servers: Object.fromEntries(points) });
  }

  /** Tells open pages how it stands. */
  #tick(): void {
    if (this.#streams.size > 0) this.#streams.snapshot(this.#snapshot());
  }

  endStreams(): void {
    this.#streams.end();
  }

  /** The grace is over. */
  failInFlight(reason: unknown): void {
    this.#actions.failInFlight(reason);
  }

  [Symbol.dispose](): void {
    this.#streams.end();
    this.#timeline[Symbol.dispose]();
    this.#scrapes[Symbol.dispose]();
    this.#instrument.close();
    this.#delay[Symbol.dispose]();
  }

  async #unauthenticated(request: IncomingMessage): Promise<401 | undefined> {
    const { authenticate } = this.#options;
    if (authenticate === undefined) return undefined;
    const late = (): Error => new Error(`status.authenticate took longer than ${AUTHENTICATE_MS} ms`);
    const asked = Promise.resolve(authenticate(request));
    const answer = await within(asked, { clock: systemClock, timeoutMs: AUTHENTICATE_MS, late });
    return answer === false || answer === undefined || answer === null ? 401 : undefined;
  }

  async #answer(page: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method, url = '' } = request;
    if (page === 'status/act' && this.#options.actions) {
      return method === 'POST' ? this.#actions.handle(request, response) : sendEmpty(response, 405, { allow: 'POST' });
    }
    if (method !== 'GET' && method !== 'HEAD') return sendEmpty(response, 405, { allow: 'GET' });
    if (page === 'status') return this.#sendPage(response);
    if (page === 'status/events') return this.#open(request, response);
    const { searchParams } = new URL(url, 'http://status');
    if (page === 'status/data.json') {
      // Of many servers the charts are most of it.
      const data = searchParams.get('history') === 'none' ? this.#present() : this.#data();
      return sendText(response, 200, JSON_TYPE, JSON.stringify(data));
    }
    if (page === 'metrics') return this.#sendMetrics(response);
    if (page === 'status/tools' && this.#options.actions) {
      return this.#actions.tools(searchParams.get('server') ?? '', request, response);
    }
    sendEmpty(response, 404);
  }

  async #sendPage(response: ServerResponse): Promise<void> {
    this.#page ??= pageOf();
    const page = await this.#page;
    // A 500 would say that something broke.
    if (page === undefined) return sendText(response, 501, 'text/plain; charset=utf-8', NO_PAGE);
    const { html, policy } = page;
    response.setHeader('content-security-policy', policy);
    response.setHeader('x-frame-options', 'DENY');
    sendText(response, 200, 'text/html; charset=utf-8', html);
  }

  async #sendMetrics(response: ServerResponse): Promise<void> {
    const text = await this.#scrapes.text();
    await inTurnOrNow(() => sendText(response, 200, Scrapes.TYPE, text));
  }

  #open(request: IncomingMessage, response: ServerResponse): void {
    // Headers alone: an answer without an end would take the place of a page.
    if (request.method === 'HEAD') return void response.writeHead(200, { 'content-type': 'text/event-stream' }).end();
    if (!this.#streams.open(response)) {
      sendEmpty(response, 503, { 'retry-after': '10' });
      return;
    }
    this.#rights?.follow(response, async () => (await this.#unauthenticated(request)) === undefined);
    const { actions } = this.#options;
    const own = { actions, token: actions ? this.#token : null };
    this.#streams.hello(response, { ...this.#data(), ...own });
  }

  #data(): StatusData {
    const names = this.#parts.pool.servers();
    const servers = Object.fromEntries(names.map((name) => [name, this.#history.of(name)]));
    return { ...this.#present(), history: { times: this.#history.times, servers } };
  }

  #present(): StatusData {
    return { snapshot: this.#snapshot(), history: { times: [], servers: {} }, events: this.#timeline.events };
  }

  #snapshot(): StatusSnapshot {
    const { pool, gateway } = this.#parts;
    const at = systemClock.wallNow();
    return {
      at,
      version: packageVersion(),
      startedAt: this.#startedAt,
      gateway: { ...gateway.stats, refusing: gateway.inspect().refusing },
      process: { pid: process.pid, memory: process.memoryUsage.rss(), delayP99: this.#delay.ms.p99 },
      servers: serverRows(pool, this.#instrument, this.#history),
      ...openCalls(this.#instrument, at),
    };
  }
}
