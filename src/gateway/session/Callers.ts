import type { Tool } from '@modelcontextprotocol/client';
import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import type { Clock } from '../../core/clock.js';
import { messageOf, OptionError, RpcError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import type { Caller, RequestOptions, ServerInfo } from '../../pool/McpPool.js';
import type { Era, ServerConfig } from '../../registry/config/ServerConfig.js';
import { legacyOverModern, type Send } from '../bridge/LegacyOverModern.js';
import { ModernOverLegacy } from '../bridge/ModernOverLegacy.js';
import { type CallOptions, type Downstream, infoOf } from '../endpoint/Endpoint.js';
import type { GatewayPool } from '../GatewayOptions.js';
import type { ModernClients } from '../modern/ModernClients.js';
import { ToolDefinitions } from '../modern/ParamChecks.js';
import { askable, type Params } from '../rpc/envelope.js';
import { CallsInFlight } from './CallsInFlight.js';
import { makingRoom } from './makingRoom.js';

export interface CallersOptions {
  readonly pool: GatewayPool;
  readonly logger: Logger;
  readonly clock: Clock;
  /** Ends one of the sessions that it names whose clients have left; false when there is none. */
  readonly makeRoom: (uses: (session: Downstream) => boolean) => boolean;
  /** Those of the modern era, which have no sessions. */
  readonly clients: ModernClients;
  /** A call without answer or progress for so long, in ms, ends; a server's own `timeouts` go before. */
  readonly callIdleMs: number;
}

/** What a session is to one server, as long as the server's config stays. */
interface Known {
  readonly config: ServerConfig;
  readonly caller: Caller | undefined;
}

/**
 * Who a session is to the pool. To a `bound` server it is a caller of its own, with a connection that is set up as its client
 * would: with its version, its name and all its capabilities. On a shared Streamable HTTP server, whose streams tell
 * whose request comes back, it has its capabilities; on the others it is like any other.
 */
export class Callers {
  /** What is known of tools for the headers of the modern era. */
  readonly tools: ToolDefinitions;
  readonly #pool: GatewayPool;
  readonly #logger: Logger;
  readonly #callIdleMs: number;
  readonly #clock: Clock;
  readonly #makeRoom: CallersOptions['makeRoom'];
  readonly #clients: ModernClients;
  readonly #bridged: ModernOverLegacy;
  readonly #known = new WeakMap<Downstream, Map<string, Known>>();
  /** The one era of a server that turned out to speak no other. */
  readonly #onlyEra = new WeakMap<ServerConfig, Era>();
  /** Servers whose transport, found out at the start, cannot tell whose request comes back. */
  readonly #mute = new WeakSet<ServerConfig>();
  readonly #calls: CallsInFlight;

  constructor({ pool, logger, clock, clients, makeRoom, callIdleMs }: CallersOptions) {
    this.#clock = clock;
    this.#calls = new CallsInFlight(clock);
    this.#makeRoom = makeRoom;
    this.#pool = pool;
    this.#logger = logger;
    this.#clients = clients;
    this.#bridged = new ModernOverLegacy(clock);
    this.tools = new ToolDefinitions(logger);
    this.#callIdleMs = callIdleMs;
  }

  isBound(server: string): boolean {
    return this.#pool.config(server)?.sharing === 'bound';
  }

  /** Whom the pool is to know the session as. */
  of(server: string, session: Downstream): Caller | undefined {
    const config = this.#pool.config(server);
    if (config === undefined) return undefined;
    const all = this.#known.get(session) ?? new Map<string, Known>();
    const known = all.get(server);
    if (known?.config === config) return known.caller;
    const caller = this.#make(config, session);
    all.set(server, { config, caller });
    this.#known.set(session, all);
    return caller;
  }

  /** What the handshake told the session, whose connection is made if there is none; from here on its era is known. */
  async info(server: string, session: Downstream, signal: AbortSignal): Promise<ServerInfo> {
    const info = infoOf(this.#pool, server, this.of(server, session), signal);
    const uses = (other: Downstream): boolean => other !== session && this.#known.get(other)?.has(server) === true;
    const room = this.isBound(server)
      ? makingRoom({ pool: this.#pool, server, clock: this.#clock, makeRoom: () => this.#makeRoom(uses) })
      : undefined;
    try {
      return await info;
    } finally {
      room?.[Symbol.dispose]();
      this.learn(server, session);
    }
  }

  /** A call of a client, in whichever era the server speaks. */
  async request(
    server: string,
    session: Downstream,
    method: string,
    params: Params | undefined,
    call: CallOptions,
  ): Promise<unknown> {
    const era = this.eraOf(server, session);
    if (session.era === 'legacy') {
      if (era !== 'modern') return this.#send(server, session, method, params, call);
      if (method === 'logging/setLevel') return {};
      const send: Send = (own, options) => this.#send(server, session, method, own, options);
      return legacyOverModern({ server, session, params, call }, send);
    }
    const spoken = era ?? (await this.#ask(server, session, call.signal));
    return spoken === 'modern'
      ? this.#pass(server, session, method, params, call)
      : this.#bridge(server, session, method, params, call);
  }

  /** Finds out what the server speaks, by its start. */
  async #ask(server: string, session: Downstream, signal = session.signal): Promise<Era> {
    const { era } = await this.info(server, session, signal);
    return era;
  }

  /** Modern on both sides: nearly a pipe. The definition of a tool says which arguments go into headers. */
  async #pass(
    server: string,
    session: Downstream,
    method: string,
    params: Params | undefined,
    { onTool, ...call }: CallOptions,
  ): Promise<unknown> {
    if (method !== 'tools/call') return this.#send(server, session, method, params, call);
    const tool = await this.#tool(server, session, params, onTool);
    try {
      return await this.#send(
        server,
        session,
        method,
        params,
        tool === undefined ? call : { ...call, toolDefinition: tool },
      );
    } catch (error) {
      if (error instanceof RpcError && error.rpcCode === RPC_CODES.headerMismatch) this.tools.forget(server);
      throw error;
    }
  }

  /** On a `bound` server each call has a connection of its own, since there is no session that it could belong to. */
  async #bridge(
    server: string,
    session: Downstream,
    method: string,
    params: Params | undefined,
    { onTool, ...call }: CallOptions,
  ): Promise<unknown> {
    const config = this.#pool.config(server);
    const client = call.client ?? { capabilities: {} };
    const alone = config?.sharing === 'bound';
    let own = session;
    if (alone) own = this.#clients.alone(client);
    else if (config !== undefined && this.#attributes(config)) {
      own = this.#clients.like({ capabilities: askable(client.capabilities) ?? {} });
    }
    if (method === 'tools/call') await this.#tool(server, session, params, onTool);
    return this.#bridged.request({
      server,
      method,
      params,
      call,
      send: async (given, { client: _, ...options }) => {
        try {
          return await this.#send(server, own, method, given, options);
        } finally {
          if (alone) this.release(own);
        }
      },
    });
  }

  async #tool(
    server: string,
    session: Downstream,
    params: Params | undefined,
    onTool: CallOptions['onTool'],
  ): Promise<Tool | undefined> {
    const caller = this.of(server, session);
    const find = (): Promise<Tool | undefined> =>
      this.tools.get(server, params?.['name'], async () => {
        const { items } = await this.#pool.listAll(server, 'tools', caller === undefined ? {} : { caller });
        return items;
      });
    const known = await find();
    try {
      if (known !== undefined) onTool?.(known, params?.['arguments']);
      return known;
    } catch {
      // The definition may be outdated: the newest one decides.
      this.tools.forget(server);
      const newest = await find();
      if (newest !== undefined) onTool?.(newest, params?.['arguments']);
      return newest;
    }
  }

  /** A call of a session as it is; while it runs, it counts among the server's callers. */
  async #send(
    server: string,
    session: Downstream,
    method: string,
    params: Params | undefined,
    call: CallOptions,
  ): Promise<unknown> {
    return this.#calls.during(server, session, async () => {
      try {
        return await this.#pool.request(server, method, params, this.#options(server, session, call));
      } catch (error) {
        if (!this.#isMute(server, error)) throw error;
        this.#known.get(session)?.delete(server);
        return await this.#pool.request(server, method, params, this.#options(server, session, call));
      }
    });
  }

  /** The session that alone has calls in flight to the server; undefined when none or several have. */
  soleCaller(server: string): Downstream | undefined {
    return this.#calls.sole(server);
  }

  /** Tells the session's own connections what its client said. One that is not up needs not know. */
  notify(session: Downstream, method: string, params: Params | undefined): void {
    for (const [server, { caller }] of this.#known.get(session) ?? []) {
      if (caller === undefined || !this.isBound(server) || this.#pool.info(server, caller) === undefined) continue;
      this.#pool
        .notify(server, method, params, { caller, signal: session.signal })
        .catch((error: unknown) => this.#logger.debug({ server, method, error }, 'a server was not told'));
    }
  }

  /** Ends the calls that wait for their clients between two rounds. */
  close(reason: unknown): void {
    this.#bridged.close(reason);
  }

  /** The session is over: its connections end, at the pool's own pace. */
  release(session: Downstream): void {
    for (const server of this.#known.get(session)?.keys() ?? []) {
      if (!this.#pool.hasServer(server) || !this.isBound(server)) continue;
      this.#pool
        .releaseKey(server, session.key)
        .catch((error: unknown) =>
          this.#logger.warn({ server, error: messageOf(error) }, "a session's connection did not end cleanly"),
        );
    }
    this.#known.delete(session);
  }

  /** The era of the connection that a session's calls run on; undefined before there was one. */
  eraOf(server: string, session: Downstream): Era | undefined {
    const config = this.#pool.config(server);
    const only = config === undefined ? undefined : this.#onlyEra.get(config);
    return only ?? this.#pool.info(server, this.of(server, session) ?? {})?.era;
  }

  /** A connection of that session is up: what it speaks, of what the session asked for, is known from here on. */
  learn(server: string, session: Downstream): void {
    const config = this.#pool.config(server);
    const known = this.#known.get(session)?.get(server);
    if (config === undefined || known?.caller?.era === undefined || known.config !== config) return;
    const era = this.#pool.info(server, known.caller)?.era;
    if (era === undefined || era === known.caller.era) return;
    this.#onlyEra.set(config, era);
    if (!this.isBound(server)) this.#known.get(session)?.delete(server);
  }

  #make(config: ServerConfig, session: Downstream): Caller | undefined {
    const { key, capabilities, clientInfo, protocolVersion } = session;
    const era = this.#eraFor(config, session);
    const own = { ...(era && { era }), ...(capabilities && { capabilities }) };
    if (config.sharing === 'bound') {
      return { ...own, key, ...(clientInfo && { clientInfo }), ...(protocolVersion && { protocolVersion }) };
    }
    const asked = era === 'modern' || !this.#attributes(config) ? undefined : askable(capabilities);
    return asked === undefined && era === undefined
      ? undefined
      : { ...(era && { era }), ...(asked && { capabilities: asked }) };
  }

  /** A server that speaks one era alone is asked for none, so that all its clients share its connections. */
  #eraFor(config: ServerConfig, session: Downstream): Era | undefined {
    if (config.era === 'legacy' || config.era === 'modern' || this.#onlyEra.has(config)) return undefined;
    // The connection of no caller in particular was asked for the modern era first.
    const found = config.transport === 'stdio' ? undefined : this.#pool.info(config.name, {})?.era;
    if (found === 'legacy') this.#onlyEra.set(config, found);
    return found === 'legacy' ? undefined : session.era;
  }

  #attributes(config: ServerConfig): boolean {
    return config.transport !== 'stdio' && config.transport !== 'sse' && !this.#mute.has(config);
  }

  /** Whether a call was refused because its server's transport, found out just now, tells not whose request comes back. */
  #isMute(server: string, error: unknown): boolean {
    const config = this.#pool.config(server);
    const cause = error instanceof Error && error.cause instanceof OptionError ? error.cause : error;
    if (config === undefined || !(cause instanceof OptionError) || !this.#attributes(config)) return false;
    if (cause.option !== 'caller.capabilities') return false;
    this.#mute.add(config);
    return true;
  }

  /**
   * A call's options as the pool takes them. On a connection of the session's own, what came on no call's stream takes the
   * way of the pool's events, since with several calls in flight it belongs to none for sure.
   */
  #options(server: string, session: Downstream, call: CallOptions): RequestOptions {
    const caller = this.of(server, session);
    const config = this.#pool.config(server);
    const times =
      config?.timeouts === undefined
        ? { timeoutMs: this.#callIdleMs, maxTotalTimeoutMs: Number.POSITIVE_INFINITY, resetTimeoutOnProgress: true }
        : { resetTimeoutOnProgress: true };
    return { ...times, ...call, raw: true, ...(caller && { caller, attributedOnly: session.era === 'legacy' }) };
  }
}
