import { LIST_CHANGES } from '../../connection/protocol/messages.js';
import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import type { Clock } from '../../core/clock.js';
import { OptionError, ServerNotFoundError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';
import { within } from '../../core/time/within.js';
import { signalOf } from '../../core/wait/Cancellation.js';
import type { McpPool, ServerInfo, ServerNotice, Subscription, SubscriptionFilter } from '../../pool/McpPool.js';
import { CAPABILITIES_TYPE, IMPLEMENTATION_TYPE } from '../aggregate/memberTypes.js';
import { changed } from '../bridge/paramsFor.js';
import { type ListenFilter, type Listening, untilAborted } from '../modern/Listening.js';
import type { Params } from '../rpc/envelope.js';
import { Refusal } from '../rpc/failure.js';
import { LEVELS, levelOf } from '../rpc/levels.js';
import { checkUri } from '../rpc/limits.js';
import type { Callers } from '../session/callers/Callers.js';
import type { TaskOwner } from '../session/OwnTasks.js';
import { keptUp, untilOpen } from '../session/SessionSubscriptions.js';
import { acrossEras } from './crossing.js';
import { discovered } from './discovered.js';
import type { BareEndpoint, CallOptions, Downstream, EndpointInfo, ListenOptions } from './Endpoint.js';
import { whole } from './whole.js';

/** Stands for the lists among a session's subscriptions, where no URI can: it holds a space. */
const LISTS = 'changed lists';

export interface ServerEndpointOptions {
  readonly pool: McpPool;
  readonly server: string;
  readonly callers: Callers;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Tells a session what a subscription of its own brought. */
  readonly tell: (session: Downstream, notice: ServerNotice) => void;
  /** The sessions of this endpoint: the server is told the most verbose level that any of them asked for. */
  readonly sessions: () => readonly Downstream[];
}

/** `/servers/:name/mcp`: one server as it is. Methods, results and errors go through unread. */
export class ServerEndpoint implements BareEndpoint {
  readonly #pool: McpPool;
  readonly #server: string;
  readonly #callers: Callers;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #sessions: () => readonly Downstream[];
  readonly #tell: ServerEndpointOptions['tell'];
  /** Stands for all clients of the modern era, as whose tasks are. */
  readonly #modernClients: TaskOwner;

  constructor(options: ServerEndpointOptions) {
    this.#pool = options.pool;
    this.#server = options.server;
    this.#callers = options.callers;
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#sessions = options.sessions;
    this.#tell = options.tell;
    this.#modernClients = { key: JSON.stringify([this.#callers.base?.principal]) };
  }

  async info(session: Downstream, signal: AbortSignal, address?: string): Promise<EndpointInfo> {
    if (!this.#pool.hasServer(this.#server)) throw new ServerNotFoundError(this.#server);
    const info = await this.#callers.info(this.#server, session, signal, address);
    const era = this.#callers.eraOf(this.#server, session);
    if (session.era === 'legacy' && era === 'modern') {
      await within(this.#follow(session), { clock: this.#clock, signal });
    }
    return shownOf(info, this.#server, era === session.era);
  }

  /** A modern server tells of changed lists on a subscription alone: a legacy session has one as long as it lives. */
  async #follow(session: Downstream): Promise<void> {
    const filter = { toolsListChanged: true, promptsListChanged: true, resourcesListChanged: true };
    try {
      await session.subscribe(LISTS, () => this.#keptUp(session, filter, session.signal));
    } catch (error) {
      // Nothing of the kind is offered.
      if (!(error instanceof OptionError)) throw error;
    }
  }

  #keptUp(session: Downstream, filter: SubscriptionFilter, signal: AbortSignal | undefined): Promise<Subscription> {
    const tell = (notice: ServerNotice): void => this.#tell(session, notice);
    // What a legacy server in its place says of its lists comes to all of its sessions.
    const onNotification = (notice: ServerNotice): void => {
      const relayed = LIST_CHANGES.has(notice.method) && this.#callers.eraOf(this.#server, session) === 'legacy';
      if (!relayed) tell(notice);
    };
    return keptUp(this.#server, session, signal, { clock: this.#clock, logger: this.#logger, tell }, () => {
      const caller = this.#callers.of(this.#server, session);
      return this.#pool.subscribe(this.#server, filter, {
        onNotification,
        ...(signal && { signal }),
        ...(caller && { caller }),
      });
    });
  }

  request(session: Downstream, method: string, params: Params | undefined, call: CallOptions): Promise<unknown> {
    if (call.request !== undefined) call.request.server = this.#server;
    if (method === 'server/discover' && session.era === 'modern') return this.#discover(session, params, call);
    if (method === 'resources/subscribe') return this.#subscribe(session, params, call);
    if (method === 'resources/unsubscribe') return this.#unsubscribe(session, params, call);
    if (method === 'logging/setLevel') return this.#setLevel(session, params, call);
    if (!this.#callers.isBound(this.#server)) {
      if (method.startsWith('tasks/')) return this.#ofTask(session, method, params, call);
      if (params?.['task'] !== undefined) return this.#makingTask(session, method, params, call);
    }
    return this.#callers.request(this.#server, session, method, params, call);
  }

  /**
   * On a shared server, which cannot tell its sessions apart, a session has its own tasks alone. So have the clients of the modern era together, of a legacy
   * server: they have no sessions, and list none. Between both sides of the modern era the id is what says whose a task is.
   */
  async #ofTask(session: Downstream, method: string, params: Params | undefined, call: CallOptions): Promise<unknown> {
    const list = method === 'tasks/list';
    const modern = session.era === 'modern';
    if (modern) {
      if (this.#callers.eraOf(this.#server, session) === undefined)
        await this.info(session, signalOf(call.signal) ?? session.signal, call.address);
      if (this.#callers.eraOf(this.#server, session) === 'modern')
        return this.#callers.request(this.#server, session, method, params, call);
      if (list) throw new Refusal(RPC_CODES.methodNotFound, `method not found: ${method}`);
    }
    const { tasks } = this.#callers;
    const owner = this.#taskOwner(session);
    const send = (options: CallOptions): Promise<unknown> =>
      this.#callers.request(this.#server, session, method, params, options);
    if (list) return tasks.filtered(this.#server, owner, await send(whole(call)));
    return tasks.ask(this.#server, owner, params?.['taskId'], call, send);
  }

  async #makingTask(session: Downstream, method: string, params: Params, call: CallOptions): Promise<unknown> {
    const result = await this.#callers.request(this.#server, session, method, params, whole(call));
    this.#callers.tasks.made(this.#server, this.#taskOwner(session), result);
    return result;
  }

  #taskOwner(session: Downstream): TaskOwner {
    return session.era === 'modern' ? this.#modernClients : session;
  }

  async listen(
    client: Downstream,
    { resourceSubscriptions, ...lists }: ListenFilter,
    { signal, address, onNotification }: ListenOptions,
  ): Promise<Listening> {
    // A server is started for it, so that what it can tell is known.
    await this.info(client, signal, address);
    const caller = this.#callers.of(this.#server, client, address);
    const filter = { ...lists, ...(resourceSubscriptions && { resourceUris: resourceSubscriptions }) };
    const options = { signal, onNotification, ...(caller && { caller }) };
    try {
      const subscription = await this.#pool.subscribe(this.#server, filter, options);
      const { resourceUris, ...agreed } = subscription.filter;
      const uris = resourceUris === undefined ? {} : { resourceSubscriptions: resourceUris };
      return { filter: { ...agreed, ...uris }, ended: subscription.ended, close: () => subscription.close() };
    } catch (error) {
      // It tells of nothing that was asked for: that is what is agreed on.
      if (error instanceof OptionError) return this.#listenToNothing(signal);
      throw error;
    }
  }

  /** Until the server is stopped or removed. */
  #listenToNothing(signal: AbortSignal): Listening {
    let watch: Disposable | undefined;
    const listening = untilAborted({}, signal, () => watch?.[Symbol.dispose]());
    // Its client may be gone by now.
    if (signal.aborted) return listening;
    watch = this.#pool.on('state', ({ server, state }) => {
      if (server === this.#server && (state === 'stopped' || !this.#pool.hasServer(server))) void listening.close();
    });
    return listening;
  }

  /** A modern server answers by itself; of a legacy one it is told what its handshake said. */
  async #discover(client: Downstream, params: Params | undefined, call: CallOptions): Promise<unknown> {
    const info = await this.info(client, signalOf(call.signal) ?? client.signal, call.address);
    if (this.#callers.eraOf(this.#server, client) === 'modern') {
      return this.#callers.request(this.#server, client, 'server/discover', params, call);
    }
    return discovered(info);
  }

  /**
   * List changes go to all; log messages to who asked for their level. A resource's update comes by the subscription of
   * the session it is for, and progress that belongs to no call goes to no session.
   */
  relay(session: Downstream, server: string, { method, params }: ServerNotice, own: boolean): void {
    if (server !== this.#server) return;
    // On a connection of its own the server itself keeps to the level it was told, or to its own.
    if (method === 'notifications/message' && !own) {
      const level = levelOf(params?.['level']);
      if (session.logLevel === undefined || level < LEVELS.indexOf(session.logLevel)) return;
    }
    if (method === 'notifications/resources/updated' || method === 'notifications/progress') return;
    if (own) session.tell(method, params);
    else session.notify(method, params);
  }

  async #subscribe(session: Downstream, params: Params | undefined, call: CallOptions): Promise<unknown> {
    const uri = checkUri(params?.['uri']);
    // What the subscription keeps: the call itself has its request.
    const signal = signalOf(call.signal);
    const subscribe = (): Promise<Subscription> => this.#keptUp(session, { resourceUris: [uri] }, signal);
    await untilOpen(this.#server, session.subscribe(uri, subscribe, signal), { clock: this.#clock, signal });
    return {};
  }

  async #unsubscribe(session: Downstream, params: Params | undefined, { signal }: CallOptions): Promise<unknown> {
    await within(session.unsubscribe(checkUri(params?.['uri'])), { clock: this.#clock, signal: signalOf(signal) });
    return {};
  }

  /** A level is the session's only when the server took it. A shared server is told the lowest that any session wants. */
  async #setLevel(session: Downstream, params: Params | undefined, call: CallOptions): Promise<unknown> {
    const level = params?.['level'];
    const known = typeof level === 'string' && LEVELS.includes(level);
    // The server says what is wrong with another.
    if (!known) return this.#callers.request(this.#server, session, 'logging/setLevel', params, call);
    const others = this.#sessions().filter((each) => each !== session);
    const wanted = [level, ...others.map(({ logLevel }) => logLevel)].map((each) =>
      each === undefined ? LEVELS.length : LEVELS.indexOf(each),
    );
    const lowest = this.#callers.isBound(this.#server)
      ? level
      : (LEVELS[wanted.reduce((a, b) => Math.min(a, b))] ?? level);
    const given = await changed(params, call, { params: { level: lowest } });
    const options = { ...call, ...given };
    const result = await this.#callers.request(this.#server, session, 'logging/setLevel', given.params, options);
    session.logLevel = level;
    return result;
  }
}

/** What clients of the server's own era are told of each handshake, and those of the other one: made once. */
const [toItsEra, acrossThem] = [new WeakMap<ServerInfo, EndpointInfo>(), new WeakMap<ServerInfo, EndpointInfo>()];

function shownOf(info: ServerInfo, server: string, sameEra: boolean): EndpointInfo {
  const made = sameEra ? toItsEra : acrossThem;
  const known = made.get(info);
  if (known !== undefined) return known;
  const { instructions } = info;
  // Official clients refuse a handshake for one odd member, such as `tools: null`: that is left out. All else is as it came.
  const capabilities = (CAPABILITIES_TYPE(info.capabilities, '', new Set()) ?? {}) as ServerInfo['capabilities'];
  const own = IMPLEMENTATION_TYPE(info.serverInfo, '', new Set()) as ServerInfo['serverInfo'];
  const isWhole = own?.name !== undefined && own.version !== undefined;
  const shown = {
    capabilities: sameEra ? capabilities : acrossEras(capabilities),
    serverInfo: isWhole ? own : { name: server, version: '0', ...own },
    ...(instructions === undefined ? {} : { instructions }),
  };
  made.set(info, shown);
  return shown;
}
