import type { Params } from '../../connection/protocol/messages.js';
import type { CloseOptions } from '../../core/close/CloseScope.js';
import { ClosedError, endOf, NotSentError } from '../../core/errors.js';
import { checkNames } from '../../core/options.js';
import { fingerprint } from '../../registry/config/fingerprint.js';
import type { ServerConfig, SeveralServersConfig, SingleServerConfig } from '../../registry/config/ServerConfig.js';
import { targetsOf } from '../../registry/config/targets/targetsOf.js';
import { MovingSubscription, untilEnded } from '../../targets/MovingSubscription.js';
import type { RoutedCall } from '../../targets/routes.js';
import { groupState, groupStats } from '../../targets/stats/groupStats.js';
import { TargetGroup } from '../../targets/TargetGroup.js';
import type { Caller, ConnectionLease, PoolEvents, RequestOptions, ServerState, ServerStats } from '../McpPool.js';
import { isEraRefusal } from './callers/callerKey.js';
import { REQUEST_OPTIONS, withSignal } from './callOptions.js';
import { type Begun, Budget, mayRepeat } from './calls/callPolicy.js';
import { CallTracer, callChannel, type Traced } from './calls/trace.js';
import type { PoolContext, ServerHost } from './context.js';
import { resolveServerOptions, type ServerOptions } from './options.js';
import { Server } from './Server.js';
import { Counters } from './stats/Counters.js';

type Rest<M extends 'notify' | 'lease'> = Parameters<Server['calls'][M]>;
type Subscribe = Parameters<Server['subscribe']>;

/** A server of several targets, each a `Server` of its own. */
export class ServerGroup {
  readonly name: string;
  readonly options: ServerOptions;
  readonly calls = {
    request: (method: string, params: Params | undefined, options: RequestOptions, begun?: Begun): Promise<unknown> =>
      this.#request(method, params, withSignal(options), begun),
    notify: (...[method, params, options]: Rest<'notify'>): Promise<void> =>
      this.#group.onEach(options.caller, (server, caller) =>
        server.calls.notify(method, params, { ...options, ...caller }),
      ),
    lease: (options: Rest<'lease'>[0]): Promise<ConnectionLease> =>
      this.#group.onOne(options, (server, own, over) => server.calls.lease({ ...options, ...own }, over)),
  };
  readonly partitions = {
    evictable: () => this.#group.servers.flatMap(({ partitions }) => [...partitions.evictable()]),
    release: (principal: string | undefined, key: string): Promise<void> => this.#group.release(principal, key),
  };
  readonly #context: PoolContext;
  readonly #group: TargetGroup<Server, RequestOptions>;
  readonly #counters = new Counters(() => undefined);
  #shown: ServerState;
  /** Takes over the calls that were refused because the server was replaced. */
  successor: Server['successor'];

  constructor(config: SeveralServersConfig, context: PoolContext) {
    this.name = config.name;
    this.#context = context;
    this.options = resolveServerOptions(targetsOf(config)[0]?.config as SingleServerConfig, context.pool);
    this.#group = new TargetGroup({
      config,
      sharing: this.options.sharing,
      startTimeoutMs: this.options.startTimeoutMs,
      clock: context.pool.clock,
      logger: context.pool.logger,
      random: Math.random,
      make: (own, id, shadow) => new Server(own, this.#host(id, shadow)),
      onSessionLost: (target, caller) =>
        context.events.emit('sessionLost', {
          server: this.name,
          principal: caller?.principal,
          key: caller?.key,
          reason: `target ${target} cannot be reached`,
        }),
      onChange: () => this.#show(),
    });
    this.#shown = this.state;
  }

  get config(): ServerConfig {
    return this.#group.targets.config;
  }

  get fingerprint(): string {
    return fingerprint(this.config);
  }

  get state(): ServerState {
    return groupState(this.#group.targets.main.map(({ server }) => server.state));
  }

  /** Of all targets, mirror and canary included. */
  get configs(): readonly SingleServerConfig[] {
    return this.#group.targets.all.map(({ config }) => config);
  }

  info: TargetGroup<Server, RequestOptions>['info'] = (caller) => this.#group.info(caller);
  start = (): Promise<void> => this.#group.start();
  stop = (options?: CloseOptions): Promise<void> => this.#group.stop(options);
  restart = (): Promise<void> => this.#group.restart();
  remove = (options?: CloseOptions): Promise<void> => this.#group.remove(options);

  subscribe(...[filter, options]: Subscribe): ReturnType<Server['subscribe']> {
    const { clock, logger } = this.#context.pool;
    const open = (): ReturnType<Server['subscribe']> =>
      this.#group.onOne(options, (server, own, over) =>
        server.subscribe(filter, { ...options, ...own }).then(untilEnded(over)),
      );
    const { closing } = this.#group;
    return MovingSubscription.open(open, { server: this.name, clock, logger, signal: options.signal, closing });
  }

  /** Takes the place of `old`, whose end is `gone`: its callers are served here, once it is gone. */
  replace(old: Pick<ServerGroup, 'successor'>, gone: Promise<void>): void {
    old.successor = this;
    for (const server of this.#group.servers) server.waitFor(gone);
  }

  /** Takes up a config that differs in targets and balance alone; undefined when it differs in more. */
  update(config: ServerConfig): Promise<void> | undefined {
    return this.#group.takes(config) ? this.#group.update(config) : undefined;
  }

  stats(): ServerStats {
    const { targets, router } = this.#group;
    return groupStats<ServerState, ServerStats>({
      name: this.name,
      state: this.state,
      targets,
      router,
      counters: this.#counters,
    });
  }

  /** What its targets are told of the pool: events tell which target they are of, and states are the server's as a whole. */
  #host(id: string, shadow: boolean): ServerHost {
    const { events } = this.#context;
    const emit: ServerHost['events']['emit'] = (event, payload) => {
      if (event === 'state') {
        this.#show();
        return true;
      }
      if (shadow && (event === 'notification' || event === 'orphanRequest')) return false;
      if (event === 'sessionLost') this.#group.lost(sessionOf(payload as PoolEvents['sessionLost']), id);
      return events.emit(event, { ...payload, target: id });
    };
    return { ...this.#context, events: { emit }, shadow, resends: () => this.#group.targets.main.length === 1 };
  }

  async #request(method: string, params: Params | undefined, options: RequestOptions, begun?: Begun): Promise<unknown> {
    const { owner, pool } = this.#context;
    const followed = begun === undefined && callChannel.hasSubscribers;
    const trace = followed ? new CallTracer(owner, pool.clock, this.name, method, params, options) : begun?.trace;
    const attempt = (trace ?? begun) && { trace: trace && attemptOf(trace), sends: begun?.sends ?? 1 };
    let budget: Budget | undefined;
    const startMs = pool.clock.now();
    try {
      checkNames('request', options, REQUEST_OPTIONS);
      options.signal?.throwIfAborted();
      if (options.deadlineMs !== undefined) budget = new Budget(pool.clock.now(), options.deadlineMs);
      const result = await this.#route({
        method,
        params,
        // It may go to several targets, and what comes back is looked at.
        options: options.onLarge === undefined ? options : { ...options, onLarge: undefined },
        repeatable: mayRepeat(method, params, options, this.config),
        send: ({ calls }, own, as) =>
          calls.request(method, params, this.#group.optionsOf(own), as === undefined ? attempt : shadowed(as, attempt)),
        onRetry: (error) => trace?.retried(error),
      });
      trace?.answered(result);
      this.#counters.latency.record(pool.clock.now() - startMs);
      return result;
    } catch (error) {
      const told = endOf(begun?.told, error);
      const refused = error instanceof ClosedError || error instanceof NotSentError;
      if (this.successor !== undefined && refused) {
        const rest = budget?.rest(options, pool.clock.now()) ?? options;
        return this.successor.calls.request(method, params, rest, { trace, sends: begun?.sends ?? 1, told });
      }
      trace?.failed(told);
      if (!isEraRefusal(told)) this.#counters.failed(told);
      throw told;
    }
  }

  /** A level of logging is set on all targets that are up: any of them may have something to say. */
  #route(call: RoutedCall<Server, RequestOptions>): Promise<unknown> {
    if (call.method !== 'logging/setLevel') return this.#group.router.request(call);
    return this.#group.onEach(call.options.caller, (server) => call.send(server, call.options));
  }

  /** Tells of the state if it is another than was told last. */
  #show(): void {
    const { state } = this;
    const previous = this.#shown;
    this.#shown = state;
    if (state !== previous) this.#context.events.emit('state', { server: this.name, state, previous });
  }
}

/** One attempt of a call: how the call ends is told by the group. */
const attemptOf = (trace: Traced): Traced => ({
  sent: (pooled) => trace.sent(pooled),
  retried: (error) => trace.retried(error),
  metered: (options) => trace.metered(options),
  answered: () => undefined,
  failed: () => undefined,
});

/** Nothing is told of a copy, and neither it nor a canary waits at a limiter. */
const shadowed = (as: 'mirror' | 'canary', begun: Begun = { trace: undefined, sends: 1 }): Begun =>
  as === 'mirror' ? COPY : { ...begun, permits: 'free' };

const COPY: Begun = { trace: undefined, sends: 1, permits: 'none' };

const sessionOf = ({ principal, key }: PoolEvents['sessionLost']): Pick<Caller, 'principal' | 'key'> => ({
  ...(principal !== undefined && { principal }),
  ...(key !== undefined && { key }),
});
