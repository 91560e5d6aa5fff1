import type { Clock } from '../../core/clock.js';
import { ForbiddenError } from '../../core/errors.js';
import { limitedLogger } from '../../core/limitedLogger.js';
import type { Logger } from '../../core/logger.js';
import type {
  CallOptions,
  Params,
  RequestHandler,
  ServerInfo,
  ServerNotice,
  ServerRequest,
} from '../protocol/messages.js';
import type { Caller } from './Caller.js';
import { ChainRuns } from './ChainRuns.js';
import type { Middleware } from './Middleware.js';
import { type CallOrigin, MiddlewareChain } from './MiddlewareChain.js';
import { type ChainParts, Inbound, noticeThroughChain, throughAsSubscriptions, throughChain } from './throughChain.js';

/** Options of a pool's call, as far as they matter here. */
type PoolCallOptions = Omit<CallOptions, 'caller'> & {
  readonly caller?: Caller;
  readonly idempotent?: boolean;
  readonly deadlineMs?: number;
};

/** A borrowed connection, as far as it matters here. */
interface Leased extends AsyncDisposable {
  readonly server: string;
  readonly info: ServerInfo;
  readonly signal: AbortSignal;
  request(method: string, params?: Params, options?: PoolCallOptions): Promise<unknown>;
  notify(method: string, params?: Params): Promise<void>;
  on(event: 'notification', listener: (notice: ServerNotice) => void): Disposable;
  on(event: 'request', listener: RequestHandler): Disposable;
  release(): void;
}

/** What a server says or asks that belongs to no call. */
export interface Unasked {
  readonly server: string;
  readonly principal?: string | undefined;
  readonly key?: string | undefined;
}

type InfoOf = (server: string, caller: Caller | undefined) => ServerInfo | undefined;

type Send<O> = (params: Params | undefined, options: O) => Promise<unknown>;

/** What passes through the middleware of a pool. With none, each of these is one comparison and the call itself. */
export class PoolMiddleware {
  /** Whether there is none. Plain, so that a call without middleware runs through nothing here. */
  empty = true;
  readonly #chain = new MiddlewareChain();
  readonly #runs: ChainRuns;
  readonly #logger: Logger;
  readonly #parts: ChainParts;
  readonly #info: InfoOf;
  /** What is said on behalf of no call keeps its order by server and owner, while any of it is under way. */
  readonly #unasked = new Map<string, Inbound>();

  constructor({ logger, clock }: { readonly logger: Logger; readonly clock: Clock }, info: InfoOf) {
    // Servers cause what it tells: middleware that refuses a notification fails at each of a flood.
    this.#logger = limitedLogger(logger, () => clock.now());
    this.#info = info;
    this.#runs = new ChainRuns(clock);
    this.#parts = { chain: this.#chain, runs: this.#runs, logger: this.#logger };
  }

  /** Settles the calls that are still with middleware: after `graceMs` with `error`, or with what is known of them. */
  close(error: Error, graceMs: number): Promise<void> {
    return this.#runs.close(error, graceMs);
  }

  use(middleware: Middleware): Disposable {
    const used = this.#chain.use(middleware);
    this.empty = false;
    return {
      [Symbol.dispose]: () => {
        used[Symbol.dispose]();
        this.empty = this.#chain.size === 0;
      },
    };
  }

  async request<O extends PoolCallOptions>(
    server: string,
    method: string,
    params: Params | undefined,
    options: O,
    send: Send<O>,
    leased = false,
  ): Promise<unknown> {
    const { caller, idempotent = false, raw } = options;
    const era = (): ServerInfo['era'] | undefined => this.#info(server, caller)?.era;
    const origin: CallOrigin = {
      kind: 'request',
      from: 'client',
      server,
      caller,
      era,
      method,
      idempotent,
      options,
      leased,
    };
    // Middleware may look at the result: it is to come whole.
    const own = options.onLarge === undefined ? options : { ...options, onLarge: undefined };
    const result = await throughChain(this.#parts, origin, params, own, send);
    return raw === true ? result.bytes : result.value;
  }

  async notify(
    server: string,
    method: string,
    params: Params | undefined,
    { caller, signal }: Pick<PoolCallOptions, 'caller' | 'signal'>,
    send: (params: Params | undefined) => Promise<void>,
  ): Promise<void> {
    if (this.empty) return send(params);
    const party = this.#party(server, caller);
    const origin: CallOrigin = { kind: 'notification', from: 'client', method, idempotent: false, ...party };
    await noticeThroughChain(this.#parts, origin, params, signal, send);
  }

  /** What of a filter goes on: URIs that middleware refuses are left out. @throws what the first was refused by, where nothing is left */
  async subscribing<F extends { readonly resourceUris?: readonly string[] }>(
    server: string,
    filter: F,
    { caller, signal }: Pick<PoolCallOptions, 'caller' | 'signal'>,
  ): Promise<F> {
    const { resourceUris, ...lists } = filter;
    if (this.empty || !Array.isArray(resourceUris) || resourceUris.length === 0) return filter;
    const party = this.#party(server, caller);
    const { uris, why } = await throughAsSubscriptions(this.#parts, resourceUris, () => party, signal);
    if (uris.length === 0 && !Object.values(lists).includes(true))
      throw why ?? new ForbiddenError(server, { why: 'middleware let none of its URIs through as they are' });
    return { ...filter, resourceUris: uris };
  }

  /** A listener for what a subscription or a lease brings. */
  listener(server: string, caller: Caller | undefined, tell: (notice: ServerNotice) => void): typeof tell {
    const inbound = new Inbound(this.#chain, this.#party(server, caller), this.#logger);
    return (notice) => inbound.noticeUnless(this.empty, notice, tell);
  }

  /** A notification that belongs to no call. */
  notice(from: Unasked, notice: ServerNotice, tell: (notice: ServerNotice) => void): void {
    if (this.empty && this.#unasked.size === 0) {
      tell(notice);
      return;
    }
    const place = JSON.stringify([from.server, from.principal, from.key]);
    const inbound = this.#unasked.get(place) ?? this.#inbound(from);
    this.#unasked.set(place, inbound);
    inbound.notice(notice, tell);
    const { told } = inbound;
    void told?.then(() => {
      if (inbound.told === told && this.#unasked.get(place) === inbound) this.#unasked.delete(place);
    });
  }

  /** A request that belongs to no call. */
  ask(
    from: Unasked,
    request: ServerRequest,
    signal: AbortSignal,
    answer: (request: ServerRequest) => Promise<unknown>,
  ): Promise<unknown> {
    if (this.empty) return answer(request);
    return this.#inbound(from).ask(request.method, request.params, signal, (params) =>
      answer({ ...request, ...(params && { params }) }),
    );
  }

  /** A lease whose calls pass through here, too. */
  lease<L extends Leased>(lease: L, caller: Caller | undefined): L {
    const { server } = lease;
    const whose = caller === undefined ? {} : { caller };
    const own: Leased = {
      server,
      get info() {
        return lease.info;
      },
      get signal() {
        return lease.signal;
      },
      request: (method, params, options) => {
        const given: PoolCallOptions = { ...whose, ...options };
        if (this.empty) return lease.request(method, params, given);
        return this.request(server, method, params, given, (...own) => lease.request(method, ...own), true);
      },
      notify: (method, params) =>
        this.notify(server, method, params, whose, (changed) => lease.notify(method, changed)),
      on: (event, listener) => {
        if (event === 'notification') {
          return lease.on(event, this.listener(server, caller, listener as (notice: ServerNotice) => void));
        }
        const answer = listener as RequestHandler;
        return lease.on('request', (request, context) =>
          this.ask({ server, ...caller }, request, context.signal, (changed) => answer(changed, context)),
        );
      },
      release: () => lease.release(),
      [Symbol.asyncDispose]: () => lease[Symbol.asyncDispose](),
    };
    return own as L;
  }

  #inbound({ server, principal, key }: Unasked): Inbound {
    const caller = { ...(principal !== undefined && { principal }), ...(key !== undefined && { key }) };
    const some = principal !== undefined || key !== undefined;
    return new Inbound(this.#chain, this.#party(server, some ? caller : undefined), this.#logger);
  }

  #party(server: string, caller: Caller | undefined): Pick<CallOrigin, 'server' | 'caller' | 'era'> {
    return { server, caller, era: () => this.#info(server, caller)?.era };
  }
}
