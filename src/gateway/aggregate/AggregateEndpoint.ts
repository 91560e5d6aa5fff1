import { FREE_BYTES } from '../../connection/channel/codec/parsingCost.js';
import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import { inTurnOrNow } from '../../core/time/turns.js';
import { withDeadline, within } from '../../core/time/within.js';
import { signalOf } from '../../core/wait/Cancellation.js';
import type { ServerNotice } from '../../pool/McpPool.js';
import type { GivenParams } from '../bridge/paramsFor.js';
import { argumentsOf, innerCall, withFixed } from '../curation/searchedCall.js';
import { isSearchTool, nameText, searchTools, ToolSearch } from '../curation/ToolSearch.js';
import { discovered } from '../endpoint/discovered.js';
import type { BareEndpoint, CallOptions, Downstream, EndpointInfo, ListenOptions } from '../endpoint/Endpoint.js';
import { Followers } from '../endpoint/Followers.js';
import type { ListenFilter, Listening } from '../modern/Listening.js';
import type { Params } from '../rpc/envelope.js';
import { Refusal } from '../rpc/failure.js';
import { LEVELS, levelOf } from '../rpc/levels.js';
import { checkUri, MAX_URI_LENGTH } from '../rpc/limits.js';
import { lateFor } from '../session/callers/crowding.js';
import { LogLevels } from '../session/LogLevels.js';
import { addressOrigin } from '../session/origin.js';
import { type ChangedKind, LIST_METHODS, Lists, type ListsOptions } from './lists/Lists.js';
import type { MergedInfos } from './MergedInfos.js';
import type { KnownServer } from './mergedInfo.js';
import { Passage } from './passage/Passage.js';
import { Tasks } from './passage/Tasks.js';
import { Subscriptions, type Told } from './Subscriptions.js';

export interface AggregateEndpointOptions extends ListsOptions {
  /** Whether three tools stand for the others. */
  readonly searching: () => boolean;
  /** What clients are told, which principals may share. */
  readonly infos: MergedInfos;
  /** The sessions of this endpoint. */
  readonly sessions: () => readonly Downstream[];
  /** Those of all endpoints, which a server's log messages may be for. */
  readonly allSessions: () => readonly Downstream[];
  readonly told: Told;
}

/** Notifications that make a list stale, and what they say to clients of the aggregate. */
const LIST_CHANGES: ReadonlyMap<string, ChangedKind> = new Map([
  ['notifications/tools/list_changed', 'tools'],
  ['notifications/prompts/list_changed', 'prompts'],
  ['notifications/resources/list_changed', 'resources'],
]);

/** `/mcp`: all servers under one roof. Tools and prompts are `server__name`, URIs keep their form, tasks say whose they are. */
export class AggregateEndpoint implements BareEndpoint {
  readonly #options: AggregateEndpointOptions;
  readonly #lists: Lists;
  readonly #levels: LogLevels;
  readonly #followers: Followers;
  readonly #passage: Passage;
  readonly #tasks: Tasks;
  readonly #subscriptions: Subscriptions;
  readonly #search = new ToolSearch();

  constructor(options: AggregateEndpointOptions) {
    this.#options = options;
    this.#lists = new Lists(options, (kind, session) => this.#tell(kind, session));
    this.#levels = new LogLevels({ ...options, sessions: options.allSessions });
    this.#followers = new Followers({
      ...options,
      onNotice: (server, notice, session) => this.#followed(server, notice, session),
    });
    this.#passage = new Passage({ ...options, uris: this.#lists.uris, levels: this.#levels });
    this.#tasks = new Tasks({ ...options, passage: this.#passage });
    const { outward } = this.#passage;
    const holds = (server: string): boolean => options.curator().holds(server);
    this.#subscriptions = new Subscriptions({ ...options, uris: this.#lists.uris, outward, holds });
  }

  /** A server that is not up within a short time does not hold up the others. */
  async info(session: Downstream, signal: AbortSignal, address?: string): Promise<EndpointInfo> {
    const { pool, infos } = this.#options;
    const known = await Promise.all(pool.servers().map((server) => this.#infoOf(server, session, signal, address)));
    return infos.of(known, session.era);
  }

  async request(session: Downstream, method: string, params: Params | undefined, call: CallOptions): Promise<unknown> {
    const kind = LIST_METHODS.get(method);
    const searching = this.#options.searching();
    if (kind === 'tools' && searching) return this.#lists.whole(session, searchTools(this.#options.pool.servers()));
    if (kind !== undefined) return this.#lists.page(kind, session, params, ownerOf(session, call));
    const given = { params, paramsText: call.paramsText };
    switch (method) {
      case 'server/discover':
        if (session.era === 'legacy') break;
        return discovered(await this.info(session, signalOf(call.signal) ?? session.signal, call.address));
      case 'tools/call':
        if (searching && isSearchTool(params?.['name'])) return this.#searched(session, given, call);
        return this.#callTool(session, given, call);
      case 'prompts/get': {
        const { server, name } = await this.#named(method, session, params?.['name']);
        return this.#passage.send({ server, session, method }, given, call, { name });
      }
      case 'resources/read': {
        const { server, uri, asked } = await this.#located(session, params?.['uri']);
        return this.#passage.send({ server, session, method, asked }, given, call, { uri });
      }
      case 'resources/subscribe':
        return this.#subscriptions.open(session, params, call);
      case 'resources/unsubscribe':
        await this.#subscriptions.close(session, checkUri(params?.['uri']), call);
        return {};
      case 'completion/complete': {
        const { server, ref } = await this.#completed(session, params?.['ref'] as Params | undefined);
        return this.#passage.send({ server, session, method }, given, call, { ref });
      }
      case 'logging/setLevel': {
        const level = params?.['level'];
        if (typeof level !== 'string' || !LEVELS.includes(level)) {
          throw new Refusal(RPC_CODES.invalidParams, `level is one of ${LEVELS.join(', ')}`);
        }
        await this.#levels.set(session, level, call.signal);
        return {};
      }
    }
    if (method.startsWith('tasks/')) return this.#tasks.request(session, method, params, call);
    throw new Refusal(RPC_CODES.methodNotFound, `${method} is not to be had here: see the servers' own paths`);
  }

  async #callTool(session: Downstream, asked: GivenParams, call: CallOptions): Promise<unknown> {
    const { params, paramsText = '' } = asked;
    const { server, name } = await this.#named('tools/call', session, params?.['name']);
    const curator = this.#options.curator();
    const fixed =
      paramsText.length < FREE_BYTES
        ? curator.fixedFor(server, name, params)
        : await inTurnOrNow(() => curator.fixedFor(server, name, params));
    const given = fixed === undefined ? asked : await inTurnOrNow(() => withFixed(asked, fixed));
    return this.#passage.send({ server, session, method: 'tools/call' }, given, call, { name });
  }

  /** A call of one of the tools that stand for the others. */
  async #searched(session: Downstream, asked: GivenParams, call: CallOptions): Promise<unknown> {
    const { params } = asked;
    if (params?.['name'] === 'call_tool')
      return this.#callTool(session, await inTurnOrNow(() => innerCall(asked)), call);
    const args = argumentsOf(params?.['arguments']);
    const tools = await this.#lists.toolsFor(session);
    const [signal, owner] = [call.signal ?? session.signal, ownerOf(session, call)];
    if (params?.['name'] === 'search_tools') return this.#search.search(tools.all, args, signal, owner);
    return this.#search.describe(tools.named, args['name'], session.era, signal, owner);
  }

  /** What clients see of the tools is another now. */
  onCurated(): void {
    this.#tell('tools', undefined);
  }

  listen(client: Downstream, filter: ListenFilter, options: ListenOptions): Promise<Listening> {
    for (const server of this.#options.pool.servers()) this.#followers.follow(server, client);
    return this.#subscriptions.listen(client, filter, options);
  }

  relay(session: Downstream, server: string, notice: ServerNotice, own: boolean): void {
    if (!this.#options.curator().holds(server)) return;
    const { method, params } = notice;
    const kind = LIST_CHANGES.get(method);
    if (kind !== undefined) {
      if (own) this.#lists.invalidate(kind, server, session);
    } else if (method === 'notifications/message') {
      const level = levelOf(params?.['level']);
      // On a connection of its own the server itself keeps to the level it was told, or to its own.
      if (!own && (session.logLevel === undefined || level < LEVELS.indexOf(session.logLevel))) return;
    } else if (!method.startsWith('notifications/tasks') && method !== 'notifications/elicitation/complete') return;
    const told = this.#passage.outward.notice(notice, server, session);
    if (own) session.tell(method, told.params, server);
    else session.notify(method, told.params);
  }

  /** What all share of a server's lists may be another now. Before anything is relayed. */
  onNotice(server: string, { method }: ServerNotice): void {
    const kind = LIST_CHANGES.get(method);
    if (kind === undefined) return;
    this.#lists.invalidate(kind, server);
    this.#subscriptions.tell(kind);
  }

  /** Another replica heard so: what is kept of the server's tools is as old as the rest. */
  async onChangedElsewhere(server: string, notice: ServerNotice): Promise<void> {
    await this.#options.catalog?.invalidate(server);
    this.onNotice(server, notice);
  }

  /** What its next process lists may be another. */
  lost(session: Downstream, server: string): void {
    for (const kind of LIST_CHANGES.values()) this.#lists.invalidate(kind, server, session);
  }

  /** `first`: no other connection of it is up. */
  onStarted(server: string, first: boolean): void {
    if (first) this.#lists.onStarted(server);
    this.#levels.onStarted(server);
  }

  onRemoved(server: string): void {
    this.#lists.onRemoved(server);
  }

  /** A modern server told of a change on its subscription. */
  #followed(server: string, notice: ServerNotice, session: Downstream | undefined): void {
    const kind = LIST_CHANGES.get(notice.method);
    if (kind === undefined) return;
    this.#lists.invalidate(kind, server, session);
    this.#tell(kind, session);
  }

  #tell(kind: ChangedKind, session: Downstream | undefined): void {
    const method = `notifications/${kind}/list_changed`;
    for (const each of session === undefined ? this.#options.sessions() : [session]) each.notify(method, undefined);
    this.#subscriptions.tell(kind);
  }

  /** Never rejects, and takes no longer than clients wait; the start goes on behind. */
  async #infoOf(server: string, session: Downstream, signal: AbortSignal, address?: string): Promise<KnownServer> {
    const { pool, callers, clock, listTimeoutMs, serverWaitMs, logger } = this.#options;
    let pending = true;
    const late = (): Error =>
      lateFor({ pool, clock, caller: callers.of(server, session) }, server, 'initialize', listTimeoutMs);
    const bounds = { clock, timeoutMs: listTimeoutMs, signal: session.signal, late };
    const waitMs = callers.isShutOut(server, session) ? 0 : serverWaitMs;
    const info = withDeadline(bounds, (bounded) => callers.info(server, session, bounded, address)).then(
      (told) => {
        this.#followers.follow(server, session);
        return told;
      },
      (error: unknown) => {
        pending = false;
        logger.debug({ server, error }, 'a server is left out of what the aggregate can do');
        return undefined;
      },
    );
    const told = await within(info, { clock, timeoutMs: waitMs, signal }).catch(() => undefined);
    return { server, info: told, pending: pending && told === undefined };
  }

  async #named(method: 'tools/call' | 'prompts/get', session: Downstream, name: unknown) {
    const [names, what] = method === 'tools/call' ? [this.#lists.tools, 'tool'] : [this.#lists.prompts, 'prompt'];
    const route = typeof name === 'string' ? await names.find(name, session) : undefined;
    if (route === undefined) throw new Refusal(RPC_CODES.invalidParams, `unknown ${what}: ${nameText(name)}`);
    return route;
  }

  async #located(session: Downstream, given: unknown) {
    const { server, uri } = await this.#subscriptions.locate(session, given);
    return { server, uri, asked: { client: given as string, server: uri } };
  }

  /** Whose completions are asked for, and by which reference of its own. */
  async #completed(session: Downstream, ref: Params | undefined) {
    if (ref?.['type'] === 'ref/prompt') {
      const { server, name } = await this.#named('prompts/get', session, ref['name']);
      return { server, ref: { ...ref, name } };
    }
    const given = ref?.['uri'];
    if (ref?.['type'] !== 'ref/resource' || typeof given !== 'string') {
      throw new Refusal(RPC_CODES.invalidParams, 'ref is of type "ref/prompt" or "ref/resource"');
    }
    if (given.length > MAX_URI_LENGTH)
      throw new Refusal(RPC_CODES.invalidParams, `ref.uri is a string of ${MAX_URI_LENGTH} characters or fewer`);
    const route = await this.#lists.uris.findTemplate(given, session);
    if (route === undefined)
      throw new Refusal(RPC_CODES.invalidParams, `unknown resource template: ${given.slice(0, 200)}`);
    return { server: route.server, ref: { ...ref, uri: route.uri } };
  }
}

/** Whose turn it is among those who ask for what takes long. */
const ownerOf = (session: Downstream, call: CallOptions): string => session.origin ?? addressOrigin(call.address);
