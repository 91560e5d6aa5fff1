import { Mutex } from 'async-mutex';
import type { Evictable } from '../../concurrent/ConnectionLimit.js';
import { type CloseOptions, checkClose } from '../../core/close/CloseScope.js';
import type { GracePeriod } from '../../core/close/GracePeriod.js';
import { messageOf, OptionError, PoolkitError, ServerNotFoundError, StartError } from '../../core/errors.js';
import { nearNames } from '../../core/nearNames.js';
import { assertLive, checkIterable, checkOptions } from '../../core/options.js';
import { failuresOf } from '../../core/wait/settleAll.js';
import { checkServerConfig } from '../../registry/config/checkServerConfig.js';
import { fingerprint } from '../../registry/config/fingerprint.js';
import type { ServerConfig } from '../../registry/config/ServerConfig.js';
import { isSeveral, targetsOf, transportsOf } from '../../registry/config/targets/targetsOf.js';
import type { ApplyReport, StartReport } from '../McpPool.js';
import { isSome } from './callers/callerKey.js';
import type { PoolContext } from './context.js';
import { Server } from './Server.js';
import { ServerGroup } from './ServerGroup.js';

/** A server, or several targets as one. */
export type AnyServer = Server | ServerGroup;

/** Those there are at this moment. @throws OptionError for what cannot be gone through */
const checkConfigs = (configs: Iterable<ServerConfig>): ServerConfig[] => [
  ...checkIterable('servers', configs, 'configs of servers, in an array or another iterable'),
];

/** The servers of a pool by name: which there are, and which are on their way out. */
export class ServerTable {
  readonly #servers = new Map<string, AnyServer>();
  /** The servers by name, as they are at any moment. */
  readonly byName: ReadonlyMap<string, AnyServer> = this.#servers;
  /** Removed or replaced, and not gone yet. */
  readonly #leaving = new Set<AnyServer>();
  /** To be started once what they stand in for is gone. */
  readonly #due = new WeakSet<AnyServer>();
  readonly #applying = new Mutex();
  readonly #context: PoolContext;

  constructor(context: PoolContext) {
    this.#context = context;
  }

  /** How many are on their way out. */
  get leaving(): number {
    return this.#leaving.size;
  }

  /** Whether exactly this is registered. */
  holds(config: ServerConfig): boolean {
    const held = this.#servers.get(config?.name);
    if (held === undefined) return false;
    checkServerConfig(config);
    return held.fingerprint === fingerprint(config);
  }

  /** Why there is none of that name. */
  missing(name: string): PoolkitError {
    if (typeof name !== 'string') return new OptionError('server', name, "a server's name");
    return new ServerNotFoundError(name, nearNames(name, this.#servers.keys()));
  }

  /** @throws OptionError; nothing has happened then. */
  add(config: ServerConfig): void {
    const server = this.#make(config);
    if (this.#servers.has(config.name)) {
      throw new OptionError('name', config.name, 'a name that is not taken in this pool');
    }
    this.#servers.set(config.name, server);
  }

  /** Ends it for good; it is unknown from now on. */
  async remove(
    server: AnyServer,
    { reason, ...options }: CloseOptions & { readonly reason?: string | undefined } = {},
  ): Promise<void> {
    checkClose(options);
    this.#servers.delete(server.name);
    this.#context.pool.logger.info({ server: server.name, reason }, 'server removed');
    await this.#end(server, options);
  }

  /** Adds, removes and replaces, and waits for what ends by it; the next one does not. `assertOpen` throws once the pool refuses. */
  async apply(
    configs: Iterable<ServerConfig>,
    options: { readonly signal?: AbortSignal },
    assertOpen: () => void,
  ): Promise<ApplyReport> {
    const { signal } = checkOptions('apply', options);
    assertLive(signal);
    const given = checkConfigs(configs);
    const { report, ended } = await this.#applying.runExclusive(() => {
      assertOpen();
      signal?.throwIfAborted();
      const fresh = new Map<string, AnyServer>();
      for (const config of given) {
        if (fresh.has(config?.name)) throw new OptionError('name', config.name, 'a name that no other config has');
        fresh.set(config.name, this.#make(config));
      }
      const same = [...fresh].filter(
        ([name, { fingerprint: print }]) => this.#servers.get(name)?.fingerprint === print,
      );
      const stay = new Set(same.map(([name]) => name));
      const changed = [...fresh.keys()].filter((name) => this.#servers.has(name) && !stay.has(name));
      const updates = new Map(
        changed.flatMap((name) => {
          const update = this.#update(this.#held(name), fresh.get(name) as AnyServer);
          return update === undefined ? [] : [[name, update] as const];
        }),
      );
      const report: ApplyReport = {
        added: [...fresh.keys()].filter((name) => !this.#servers.has(name)),
        removed: [...this.#servers.keys()].filter((name) => !fresh.has(name)),
        restarted: changed.filter((name) => !updates.has(name)),
        unchanged: [...stay],
        ...(updates.size > 0 && { updated: [...updates.keys()] }),
      };
      for (const name of report.added) this.#take(fresh.get(name) as AnyServer);
      const ends = [
        ...updates.values(),
        ...report.removed.map((name) => this.remove(this.#held(name), { reason: 'no longer configured' })),
        ...report.restarted.map((name) => this.#replace(this.#held(name), fresh.get(name) as Server)),
      ];
      this.#context.events.emit('applied', report);
      return { report, ended: failuresOf(ends) };
    });
    const errors = await ended;
    if (errors.length > 0) throw new AggregateError(errors, `${errors.length} server(s) did not end cleanly`);
    return report;
  }

  /** Connections that may have to give way to those of another server. */
  *evictable(): Iterable<Evictable> {
    for (const { partitions } of this.#servers.values()) yield* partitions.evictable();
  }

  /** What is on its way out ends now: it may have been given more time than the pool's close. */
  hurry(): void {
    for (const server of this.#leaving) void server.remove({ graceMs: 0 }).catch((error: unknown) => error);
  }

  /** Ends all there are within the grace; gives what failed. */
  async close(grace: GracePeriod): Promise<unknown[]> {
    const servers = [...this.#servers.values(), ...this.#leaving];
    const shortened = grace.onShorten((graceMs) => {
      for (const server of servers) void server.remove({ graceMs }).catch((error: unknown) => error);
    });
    const errors = await failuresOf(servers.map((server) => server.remove({ graceMs: grace.remainingMs })));
    shortened[Symbol.dispose]();
    const { credentials, logger } = this.#context.pool;
    const settled = (async () => credentials?.settled?.())();
    for (const error of await failuresOf([Promise.race([settled, grace.over])]))
      logger.error({ error }, 'the credentials hook did not settle');
    return errors;
  }

  /** A server of several targets takes up others without being replaced; undefined where more has changed. */
  #update(held: AnyServer, fresh: AnyServer): Promise<void> | undefined {
    return held instanceof ServerGroup ? held.update(fresh.config) : undefined;
  }

  #held(name: string): AnyServer {
    return this.#servers.get(name) as AnyServer;
  }

  /** A server ready to be registered. */
  #make(config: ServerConfig): AnyServer {
    checkServerConfig(config);
    const { connector } = this.#context;
    const transports = transportsOf(config);
    for (const transport of transports) {
      if (connector.transports.includes(transport)) continue;
      const taken = connector.transports.map((each) => (each === undefined ? 'a url alone' : `'${each}'`));
      throw new OptionError(`servers.${config.name}.transport`, transport, taken.join(' or '));
    }
    const signsIn = (isSeveral(config) ? targetsOf(config).map((each) => each.config) : [config]).some(
      (each) => each.transport !== 'stdio' && each.auth !== undefined,
    );
    if (signsIn && this.#context.pool.credentials === undefined) {
      throw new OptionError(
        `servers.${config.name}.auth`,
        undefined,
        'a pool with credentials, as those of UpstreamOAuth',
      );
    }
    const server = isSeveral(config) ? new ServerGroup(config, this.#context) : new Server(config, this.#context);
    const { sharing, clientCapabilities } = server.options;
    const attributed = transports.every((transport) => connector.attributes(transport));
    if (sharing === 'shared' && !attributed && isSome(clientCapabilities)) {
      throw new OptionError(
        `servers.${config.name}.clientCapabilities`,
        clientCapabilities,
        "none with sharing 'shared' on this transport, which cannot tell whose request comes back; use 'leased' or 'bound'",
      );
    }
    return server;
  }

  /** Ends it for good; a close meanwhile waits for it, within its own grace. */
  async #end(server: AnyServer, options?: CloseOptions): Promise<void> {
    this.#leaving.add(server);
    try {
      await server.remove(options);
    } finally {
      this.#leaving.delete(server);
    }
  }

  /** Starts all at once; what fails is told of and stops no other. */
  async startAll(
    configs: Iterable<ServerConfig>,
    start: (config: ServerConfig) => Promise<void>,
  ): Promise<StartReport> {
    const started: string[] = [];
    const failed: { name: string; error: PoolkitError }[] = [];
    const one = async (config: ServerConfig): Promise<void> => {
      const name = String(config?.name);
      try {
        await start(config);
        started.push(name);
      } catch (thrown) {
        const known = thrown instanceof PoolkitError;
        failed.push({ name, error: known ? thrown : new StartError(name, messageOf(thrown), {}, thrown) });
      }
    };
    await Promise.all(checkConfigs(configs).map(one));
    return { started, failed };
  }

  /** One that is back before it is gone: its calls wait for the old one's end. */
  #take(fresh: AnyServer): void {
    const old = [...this.#leaving].findLast(({ name }) => name === fresh.name);
    // In the time that it has.
    if (old !== undefined) fresh.replace(old, old.remove({ graceMs: Number.POSITIVE_INFINITY }));
    this.#servers.set(fresh.name, fresh);
  }

  /** Calls that come meanwhile wait for the old one's end. One that was up is started again. */
  async #replace(old: AnyServer, fresh: AnyServer): Promise<void> {
    const { name } = old;
    const up = this.#due.delete(old) || ['ready', 'starting', 'degraded'].includes(old.state);
    if (up) this.#due.add(fresh);
    const gone = this.#end(old);
    fresh.replace(old, gone);
    this.#servers.set(name, fresh);
    await gone;
    if (!this.#due.delete(fresh) || this.#servers.get(name) !== fresh || fresh.state === 'stopped') return;
    // How it goes is told by events and state; the config was applied either way.
    const { logger } = this.#context.pool;
    fresh.start().catch((error: unknown) => logger.warn({ server: name, error: messageOf(error) }, 'restart failed'));
  }
}
