import { ChainRuns } from '../../connection/calls/ChainRuns.js';
import type { Middleware } from '../../connection/calls/Middleware.js';
import { type CallOrigin, MiddlewareChain } from '../../connection/calls/MiddlewareChain.js';
import { whyPoolsAlone } from '../../connection/calls/poolsAlone.js';
import {
  type ChainedParty,
  Inbound,
  noticeThroughChain,
  throughAsSubscriptions,
  throughChain,
} from '../../connection/calls/throughChain.js';
import type { Clock } from '../../core/clock.js';
import { OptionError } from '../../core/errors.js';
import { limitedLogger } from '../../core/limitedLogger.js';
import type { Logger } from '../../core/logger.js';
import { signalOf } from '../../core/wait/Cancellation.js';
import type { ServerNotice } from '../../pool/McpPool.js';
import type { Era } from '../../registry/config/ServerConfig.js';
import { calledTool } from '../curation/searchedCall.js';
import type { ListenFilter, Listening } from '../modern/Listening.js';
import type { Params } from '../rpc/envelope.js';
import { countedCaller } from '../session/callers/countedCaller.js';
import type { BareEndpoint, CallOptions, Downstream, Endpoint, ListenOptions } from './Endpoint.js';
import { whole } from './whole.js';

/** What an endpoint tells of itself to middleware. */
export interface Routes {
  readonly scope: string;
  /** As middleware is told it, whatever stands in front of it where the gateway is mounted. */
  readonly path: string;
  readonly moves: () => boolean;
  /** Whether `call_tool` stands for the tool that it calls. */
  readonly searching: () => boolean;
  /** The server that a request is for; undefined when it is for several. */
  readonly serverOf: (method: string, params: Params | undefined) => string | undefined;
  readonly eraOf: (server: string, session: Downstream) => Era | undefined;
  /** Stands for the clients of the modern era. */
  readonly anyone: Downstream;
  /** Something is under way, until `ended`. */
  readonly began: () => void;
  readonly ended: () => void;
}

/** The middleware of a gateway: around what its clients ask, and what they hear and are asked. */
export class EndpointMiddleware {
  readonly #chain = new MiddlewareChain();
  readonly #runs: ChainRuns;
  readonly #logger: Logger;
  readonly #inbound = new WeakMap<Downstream, Inbound>();
  /** Of each session, that what it said last has gone on, or never will. */
  readonly #said = new WeakMap<Downstream, Promise<void>>();

  constructor(logger: Logger, clock: Clock) {
    // Peers cause what it tells: middleware that refuses a notification fails at each of a flood.
    this.#logger = limitedLogger(logger, () => clock.now());
    this.#runs = new ChainRuns(clock);
  }

  /** @throws OptionError for one that is made for pools */
  use(middleware: Middleware): Disposable {
    const why = whyPoolsAlone(middleware);
    if (why !== undefined) throw new OptionError('middleware', middleware, `one for a gateway: ${why}`);
    return this.#chain.use(middleware);
  }

  /** An endpoint whose traffic passes through here. With no middleware it costs a comparison. */
  around(endpoint: BareEndpoint, routes: Routes): Endpoint {
    const chain = this.#chain;
    const party = (session: Downstream, server: string | undefined): ChainedParty => ({
      server,
      caller: session.caller,
      era: () => (server === undefined ? undefined : routes.eraOf(server, session)),
    });
    const parts = { chain, runs: this.#runs, logger: this.#logger };
    /** Of a client's own message. */
    const asking = (client: Downstream, address: string | undefined, server: string | undefined) => ({
      path: routes.path,
      ...party(client, server),
      caller: countedCaller(client.caller, client.origin ?? address),
    });
    /** What a client wants to be told of, without the URIs that are refused: those are not agreed on. */
    const passing = async (client: Downstream, filter: ListenFilter, { signal, address }: ListenOptions) => {
      const { resourceSubscriptions: wanted } = filter;
      if (wanted === undefined || chain.size === 0) return filter;
      const originOf = (uri: string) => asking(client, address, routes.serverOf('resources/subscribe', { uri }));
      const { uris } = await throughAsSubscriptions(parts, wanted, originOf, signal);
      return { ...filter, resourceSubscriptions: uris };
    };
    return {
      scope: routes.scope,
      get moves() {
        return routes.moves();
      },
      anyone: routes.anyone,
      info: (session, signal) => endpoint.info(session, signal),
      request: async (session, method, params, call) => {
        routes.began();
        try {
          if (chain.size === 0) return await endpoint.request(session, method, params, call);
          const asked = { params, paramsText: call.paramsText };
          const inner = routes.searching() ? calledTool(method, asked) : asked;
          const origin: CallOrigin = {
            kind: 'request',
            from: 'client',
            method,
            idempotent: false,
            ...asking(session, call.address, routes.serverOf(method, inner.params)),
          };
          const send = (own: Params | undefined, options: CallOptions): Promise<unknown> =>
            endpoint.request(session, method, own, options);
          // Middleware may look at its signal, and give another.
          const { signal, ...rest } = whole({ ...call, paramsText: inner.paramsText });
          const given = signal === undefined ? rest : { ...rest, signal: signalOf(signal) };
          const result = await throughChain(parts, origin, inner.params, given, send);
          // What was not looked at goes on as it came.
          return result.raw;
        } finally {
          routes.ended();
        }
      },
      listen: async (client, filter, options: ListenOptions): Promise<Listening> => {
        const inbound = new Inbound(
          chain,
          party(client, routes.serverOf('subscriptions/listen', undefined)),
          this.#logger,
        );
        const { onNotification } = options;
        const tell = (notice: ServerNotice): void => inbound.noticeUnless(chain.size === 0, notice, onNotification);
        const own = await passing(client, filter, options);
        const listening = await endpoint.listen(client, own, { ...options, onNotification: tell });
        routes.began();
        void listening.ended.then(routes.ended, routes.ended);
        return listening;
      },
      opening: async (params, { address, signal }, open) => {
        if (chain.size === 0) return open(params);
        routes.began();
        try {
          const party = asking(routes.anyone, address, routes.serverOf('initialize', undefined));
          const request = { kind: 'request', from: 'client', method: 'initialize', idempotent: false } as const;
          // There is no session yet whose connection could tell an era.
          const origin: CallOrigin = { ...party, ...request, era: () => undefined };
          const send = async (own: Params | undefined): Promise<unknown> => Buffer.concat(await open(own));
          const { bytes } = await throughChain(parts, origin, params, { signal }, send);
          return [Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)];
        } finally {
          routes.ended();
        }
      },
      said: async (session, server, method, params, send) => {
        const before = this.#said.get(session);
        if (chain.size === 0 && before === undefined) return send(params);
        let goneOn = (): void => undefined;
        const turn = new Promise<void>((resolve) => {
          goneOn = resolve;
        });
        this.#said.set(session, turn);
        await before;
        let passed = false;
        try {
          const party = asking(session, undefined, server);
          const origin: CallOrigin = { ...party, kind: 'notification', from: 'client', method, idempotent: false };
          await noticeThroughChain(parts, origin, params, session.signal, (own) => {
            passed = true;
            const sending = send(own);
            goneOn();
            return sending;
          });
        } catch (error) {
          if (passed || session.signal.aborted) throw error;
          this.#logger.error({ server, method, error }, 'middleware failed at a notification');
        } finally {
          goneOn();
          if (this.#said.get(session) === turn) this.#said.delete(session);
        }
      },
      lost: endpoint.lost?.bind(endpoint),
      relay: (session, server, notice, own) => {
        this.told(session, server, notice, (changed) => endpoint.relay(session, server, changed, own));
      },
    };
  }

  /** What a server asks a session's client. */
  ask(
    session: Downstream,
    server: string,
    { method, params }: ServerNotice,
    signal: AbortSignal,
    answer: (params: Params | undefined) => Promise<unknown>,
  ): Promise<unknown> {
    if (this.#chain.size === 0) return answer(params);
    const party: ChainedParty = { server, caller: session.caller, era: () => session.era };
    return new Inbound(this.#chain, party, this.#logger).ask(method, params, signal, answer);
  }

  /** What a session hears by itself, in its order. */
  told(session: Downstream, server: string, notice: ServerNotice, tell: (notice: ServerNotice) => void): void {
    const party: ChainedParty = { server, caller: session.caller, era: () => session.era };
    const inbound = this.#inbound.get(session) ?? new Inbound(this.#chain, party, this.#logger);
    this.#inbound.set(session, inbound);
    inbound.party = party;
    inbound.noticeUnless(this.#chain.size === 0, notice, tell);
  }
}
