import type { Tool } from '@modelcontextprotocol/client';
import { META_LOG_LEVEL } from '../../../connection/protocol/metaKeys.js';
import { RPC_CODES } from '../../../connection/protocol/rpcCodes.js';
import type { Clock } from '../../../core/clock.js';
import { messageOf, RpcError } from '../../../core/errors.js';
import type { Logger } from '../../../core/logger.js';
import { signalOf } from '../../../core/wait/Cancellation.js';
import type { Caller, ServerInfo } from '../../../pool/McpPool.js';
import type { Era } from '../../../registry/config/ServerConfig.js';
import type { ListFailures } from '../../aggregate/lists/ListFailures.js';
import { ClientNotices } from '../../bridge/ClientNotices.js';
import { legacyOverModern, type Send } from '../../bridge/LegacyOverModern.js';
import { ModernOverLegacy } from '../../bridge/ModernOverLegacy.js';
import type { RequestStates } from '../../bridge/RequestStates.js';
import { acrossEras } from '../../endpoint/crossing.js';
import { type CallOptions, type Downstream, type Endpoint, infoOf } from '../../endpoint/Endpoint.js';
import { whole } from '../../endpoint/whole.js';
import type { GatewayPool } from '../../GatewayOptions.js';
import type { HeldBytes } from '../../http/HeldBytes.js';
import type { ModernClients } from '../../modern/ModernClients.js';
import { ToolDefinitions } from '../../modern/ParamChecks.js';
import { askable, type Params } from '../../rpc/envelope.js';
import type { OwnTasks } from '../OwnTasks.js';
import { callerOrigin } from '../origin.js';
import { CallerTable } from './CallerTable.js';
import { CallSender } from './CallSender.js';
import type { CallsInFlight } from './CallsInFlight.js';
import { crowdingOf, isFullFor } from './crowding.js';
import { type AllSessions, RoomMaker } from './RoomMaker.js';

export interface CallersOptions {
  readonly pool: GatewayPool;
  readonly logger: Logger;
  readonly clock: Clock;
  /** All sessions, those of other principals among them. */
  readonly sessions: () => AllSessions;
  /** Those of the modern era, which have no sessions. */
  readonly clients: ModernClients;
  /** Lists of servers that are not asked for again yet. */
  readonly failures: ListFailures;
  /** The principal whose sessions these are. */
  readonly base?: Caller | undefined;
  /** A call without answer or progress for so long, in ms, ends; a server's own `timeouts` go before. */
  readonly callIdleMs: number;
  /** Bytes held over all sessions. */
  readonly held: HeldBytes;
  /** Large results may come in pieces. */
  readonly inPieces: boolean;
  /** Seals what modern servers have modern clients keep for them. */
  readonly states: RequestStates;
  /** Whose the tasks of servers are. */
  readonly tasks: OwnTasks;
}

const DONE = Promise.resolve();
type Asked = Pick<CallOptions, 'signal' | 'address'>;
type Sent = readonly [method: string, params: Params | undefined, call: CallOptions];

/** The sessions as callers of the pool: their calls, in whichever eras client and server speak, and what ends with them. */
export class Callers {
  /** What is known of tools for the headers of the modern era. */
  readonly tools: ToolDefinitions;
  /** The principal whose sessions these are; undefined for those without one. */
  readonly base: Caller | undefined;
  /** Lists of servers that are not asked for again yet. */
  readonly failures: ListFailures;
  readonly tasks: OwnTasks;
  /** Which sessions have calls in flight to which server. */
  readonly calls: Pick<CallsInFlight, 'sole' | 'soleCall'>;
  readonly #pool: GatewayPool;
  readonly #logger: Logger;
  readonly #rooms: RoomMaker<(other: Downstream) => boolean>;
  readonly #clients: ModernClients;
  readonly #bridged: ModernOverLegacy;
  readonly #states: RequestStates;
  readonly #table: CallerTable;
  readonly #sender: CallSender;
  readonly #notices: ClientNotices;

  constructor(options: CallersOptions) {
    const { pool, logger, clock, clients, sessions, callIdleMs, inPieces, held, base, tasks } = options;
    this.#states = options.states;
    this.#table = new CallerTable(pool, clock, base);
    this.base = base;
    this.failures = options.failures;
    this.tasks = tasks;
    this.#sender = new CallSender({ pool, table: this.#table, base, tasks, callIdleMs, inPieces, clock, logger });
    this.calls = this.#sender.calls;
    const own = (server: string): number => this.#table.connections(server, sessions());
    const isFull = (server: string): boolean => isFullFor(pool, server, clock, base?.principal ? own : undefined);
    this.#rooms = new RoomMaker({ clock, isFull, makeRoom: (uses) => sessions().endAbandoned(uses) });
    this.#pool = pool;
    this.#logger = logger;
    this.#clients = clients;
    this.#bridged = new ModernOverLegacy(clock, held, (server) => crowdingOf(pool, server, clock));
    this.#notices = new ClientNotices(held, logger);
    this.tools = new ToolDefinitions(logger, clock);
  }

  isBound(server: string): boolean {
    return this.#pool.config(server)?.sharing === 'bound';
  }

  /** Whom the pool is to know the session as; `address`: where what it is asked for comes from, of one that stands for clients from everywhere. */
  of(server: string, session: Downstream, address?: string): Caller | undefined {
    return this.#table.of(server, session, address);
  }

  /** The era of the connection that a session's calls run on; undefined before there was one. */
  eraOf(server: string, session: Downstream): Era | undefined {
    return this.#table.eraOf(server, session);
  }

  /** What the handshake told the session, whose connection is made if there is none; from here on its era is known. */
  async info(server: string, session: Downstream, signal: AbortSignal, address?: string): Promise<ServerInfo> {
    const info = this.#info(server, session, signal, address);
    const uses = (other: Downstream): boolean => other !== session && this.#table.makesRoom(server, other);
    const room = this.isBound(server) ? this.#rooms.wait(server, uses) : undefined;
    try {
      return await info;
    } finally {
      room?.[Symbol.dispose]();
      this.#table.learn(server, session);
    }
  }

  /** Whether the session has no connection of a server's, and others wait for one in vain: nothing is to wait for it. */
  isShutOut(server: string, session: Downstream): boolean {
    return this.#rooms.isFull(server) && this.#pool.info(server, this.of(server, session)) === undefined;
  }

  #info(server: string, session: Downstream, signal: AbortSignal, address?: string): Promise<ServerInfo> {
    const ask = (): Promise<ServerInfo> => infoOf(this.#pool, server, this.of(server, session, address), signal);
    return ask().catch((error: unknown) => {
      if (!this.#table.failed(server, session, error)) throw error;
      return ask();
    });
  }

  /** The same for what is asked for all, once it is known which eras the server speaks. */
  async settled(server: string, session: Downstream, asked: Asked = {}): Promise<Caller | undefined> {
    if (session.era === 'modern' && this.eraOf(server, session) === undefined) await this.#ask(server, session, asked);
    return this.of(server, session);
  }

  /** A call of a client, in whichever era the server speaks. */
  request(
    server: string,
    session: Downstream,
    method: string,
    params: Params | undefined,
    call: CallOptions,
  ): Promise<unknown> {
    const era = this.eraOf(server, session);
    if (session.era === 'legacy') {
      if (era !== 'modern') {
        const send = () => this.#sender.send(server, session, method, params, call);
        const logLevel = method === 'logging/setLevel' ? undefined : session.logLevel;
        return logLevel === undefined ? send() : this.#leveled(server, session, logLevel, call).then(send);
      }
      if (method === 'logging/setLevel') return Promise.resolve({});
      const send: Send = (own, options) => this.#sender.send(server, session, method, own, whole(options));
      return legacyOverModern({ server, session, params, call: this.tasks.askingIn(server, session, call) }, send);
    }
    return this.#modern(era, server, session, method, params, call);
  }

  async #modern(era: Era | undefined, server: string, session: Downstream, ...sent: Sent): Promise<unknown> {
    const spoken = era ?? (await this.#ask(server, session, sent[2]));
    return spoken === 'modern' ? this.#pass(server, session, ...sent) : this.#bridge(server, session, ...sent);
  }

  /** Finds out what the server speaks, by its start. */
  async #ask(server: string, session: Downstream, { signal, address }: Asked): Promise<Era> {
    return (await this.info(server, session, signalOf(signal) ?? session.signal, address)).era;
  }

  /** Modern on both sides: nearly a pipe. The definition of a tool says which arguments go into headers. */
  async #pass(
    server: string,
    session: Downstream,
    method: string,
    params: Params | undefined,
    { onTool, ...call }: CallOptions,
  ): Promise<unknown> {
    const of = { principal: this.base?.principal, server, method, params };
    const pieces = this.#states.inPieces(of, call.onLarge);
    const opening = this.#states.opened(of, call);
    const { params: own, paramsText } = opening instanceof Promise ? await opening : opening;
    const given = { ...call, paramsText, onLarge: pieces.onLarge };
    const send = async (options: CallOptions): Promise<unknown> => {
      const result = await this.#sender.send(server, session, method, own, options);
      const passed = pieces.passedOn();
      if (passed !== undefined) await passed;
      return this.#states.sealed(of, result);
    };
    if (method !== 'tools/call') return send(given);
    const tool = await this.#tool(server, session, own, onTool, call);
    try {
      return await send(tool === undefined ? given : { ...given, toolDefinition: tool });
    } catch (error) {
      if (error instanceof RpcError && error.rpcCode === RPC_CODES.headerMismatch) this.tools.doubt(server);
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
    const client = { ...call.client, capabilities: acrossEras(call.client?.capabilities ?? {}) };
    const alone = config?.sharing === 'bound';
    let own = session;
    if (alone) own = this.#clients.alone(client, call.address);
    else if (config !== undefined && this.#table.attributes(config)) {
      own = this.#clients.like(askable(client.capabilities), call.address);
    }
    if (method === 'tools/call') await this.#tool(server, session, params, onTool, call);
    const wanted = (params?.['_meta'] as Params | undefined)?.[META_LOG_LEVEL];
    return this.#bridged.request({
      server,
      method,
      params,
      call,
      owner: callerOrigin(this.base, call.address),
      send: async (given, { client: _, ...options }) => {
        try {
          await this.#leveled(server, own, wanted, options);
          return await this.#sender.send(server, own, method, given, whole(options));
        } finally {
          if (alone) this.release(own);
        }
      },
    });
  }

  #leveled(server: string, session: Downstream, level: unknown, { signal: own, address }: Asked): Promise<void> {
    if (typeof level !== 'string') return DONE;
    const signal = signalOf(own) ?? session.signal;
    const up = () => this.info(server, session, signal, address);
    return this.#sender.leveled(server, session, level, { signal, address }, up);
  }

  async #tool(
    server: string,
    session: Downstream,
    params: Params | undefined,
    onTool: CallOptions['onTool'],
    { signal, address }: Asked,
  ): Promise<Tool | undefined> {
    const caller = await this.settled(server, session, { signal, address });
    const list = async (own: AbortSignal): Promise<readonly Tool[]> =>
      (await this.failures.listAll(server, 'tools', { signal: own, ...(caller && { caller }) })).items;
    const name = params?.['name'];
    const known = await this.tools.get(server, name, list, signal);
    try {
      if (known !== undefined) onTool?.(known, params?.['arguments']);
      return known;
    } catch (error) {
      // The definition may be outdated: the newest one decides, where it can be read.
      const newest = await this.tools.again(server, name, list, signal);
      if (newest === undefined) throw error;
      onTool?.(newest, params?.['arguments']);
      return newest;
    }
  }

  /** Tells the session's own connections what its client said. One that is not up needs not know. */
  notify(session: Downstream, method: string, params: Params | undefined, said: Endpoint['said']): void {
    const owner = session.origin ?? callerOrigin(this.base);
    for (const [server, caller] of this.#table.callersOf(session)) {
      if (caller === undefined || !this.isBound(server) || this.#pool.info(server, caller) === undefined) continue;
      const send = (own?: Params) => this.#pool.notify(server, method, own, { caller, signal: session.signal });
      this.#notices.send(session, owner, method, params, server, () => said(session, server, method, params, send));
    }
  }

  /** Ends the calls that wait for their clients between two rounds. */
  close(reason: unknown): void {
    this.#bridged.close(reason);
  }

  /** The session is over: its connections end, at the pool's own pace. */
  release(session: Downstream): void {
    const { principal } = this.base ?? {};
    for (const [server] of this.#table.callersOf(session)) {
      if (!this.#pool.hasServer(server) || !this.isBound(server)) continue;
      const ended = this.#pool.releaseKey(server, session.key, principal === undefined ? {} : { principal });
      const logged = (error: unknown): void =>
        this.#logger.warn({ server, error: messageOf(error) }, "a session's connection did not end cleanly");
      ended.catch(logged);
    }
    this.#table.forget(session);
  }
}
