import type { Caller } from '../connection/calls/Caller.js';
import type { ServerInfo } from '../connection/protocol/messages.js';
import type { Clock } from '../core/clock.js';
import { CLOSE_DEFAULTS, type CloseOptions } from '../core/close/CloseScope.js';
import { ClosedError, messageOf, StartError } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import { settleAll } from '../core/wait/settleAll.js';
import { fingerprint } from '../registry/config/fingerprint.js';
import type {
  ServerConfig,
  SeveralServersConfig,
  Sharing,
  SingleServerConfig,
} from '../registry/config/ServerConfig.js';
import { isSeveral, settingsOf } from '../registry/config/targets/targetsOf.js';
import { Router } from './Router.js';
import type { RoutedOptions } from './routes.js';
import { Stickiness } from './Stickiness.js';
import { type RoutedServer, type Target, toldByMost } from './Target.js';
import { TargetTable } from './TargetTable.js';

/** What a group does with each of its servers. */
export interface GroupServer extends RoutedServer {
  start(): Promise<void>;
  stop(options?: CloseOptions): Promise<void>;
  restart(): Promise<void>;
  remove(options?: CloseOptions): Promise<void>;
  info(caller: Caller | undefined): ServerInfo | undefined;
  readonly partitions: { release(principal: string | undefined, key: string): Promise<void> };
}

export interface TargetGroupOptions<S> {
  readonly config: SeveralServersConfig;
  readonly sharing: Sharing;
  /** Longest start of each target, in ms. */
  readonly startTimeoutMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
  /** From 0 to 1, as `Math.random`. */
  readonly random: () => number;
  /** Makes the server of a new target; nothing is started. `shadow`: of a mirror or a canary. */
  readonly make: (config: SingleServerConfig, id: string, shadow: boolean) => S;
  /** A session of a `bound` server was given up, since its target cannot be reached. */
  readonly onSessionLost: (target: string, caller: Caller | undefined) => void;
  /** Targets came or went. */
  readonly onChange: () => void;
}

/** What a group leaves to a target: the server, whom it serves there, and what to call when it is over. */
export type OnTarget<S, T> = (server: S, own: OnTargetOptions, over: () => void) => Promise<T>;

interface OnTargetOptions {
  caller?: Caller;
  /** What is left of it, where there is one. */
  acquireTimeoutMs?: number;
}

/** The servers behind one name as one: started, stopped and changed together, each otherwise on its own. */
export class TargetGroup<S extends GroupServer, O extends RoutedOptions> {
  readonly targets: TargetTable<S>;
  readonly router: Router<S, O>;
  readonly closing: AbortSignal;
  readonly #options: TargetGroupOptions<S>;
  readonly #closing = new AbortController();
  readonly #sticky = new Stickiness<S>();
  /** Callers as the targets of a shared server see them: what `hash` and the group itself go by is nothing to them. */
  readonly #plain = new WeakMap<Caller, Caller>();
  /** By what the first of several targets told: what the others did, and what stands for all of them. */
  readonly #infos = new WeakMap<ServerInfo, { readonly others: readonly ServerInfo[]; readonly info: ServerInfo }>();
  readonly #drains = new Set<Promise<unknown>>();
  readonly #name: string;

  constructor(options: TargetGroupOptions<S>) {
    const { config, sharing, startTimeoutMs, clock, random } = options;
    this.#options = options;
    this.#name = config.name;
    this.closing = this.#closing.signal;
    this.targets = new TargetTable(config, options);
    const { targets, closing } = this;
    this.router = new Router({
      server: this.#name,
      sharing,
      startTimeoutMs,
      targets,
      sticky: this.#sticky,
      plain: (caller) => this.plain(caller),
      clock,
      random,
      closing,
      onLost: (target, caller) => this.#lost(target, caller),
    });
  }

  /** The servers of all targets. */
  get servers(): readonly S[] {
    return this.targets.all.map(({ server }) => server);
  }

  /** What most of those that are up told: another object once any of them has told anew, since it knows nothing then of what all were told. */
  info(caller: Caller | undefined): ServerInfo | undefined {
    const plain = this.plain(caller);
    const all = this.targets.all.map(({ server, shadow }) => (shadow ? undefined : server.info(plain)));
    const [first, ...others] = all.filter((each) => each !== undefined);
    if (first === undefined || others.length === 0) return first;
    const known = this.#infos.get(first);
    if (known?.others.length === others.length && others.every((each, at) => each === known.others[at]))
      return known.info;
    const info = { ...toldByMost([first, ...others]) };
    this.#infos.set(first, { others, info });
    return info;
  }

  /** Resolves as soon as one target is up; the others go on, and how they fare is told by stats and events. */
  async start(): Promise<void> {
    const { config, main } = this.targets;
    const errors: unknown[] = [];
    // What stands by is not started before it is needed.
    const groups = config.balance === 'failover' ? main.map((each) => [each]) : [main];
    for (const group of groups) {
      try {
        await Promise.any(group.map((target) => this.#start(target)));
        return;
      } catch (error) {
        for (const each of (error as AggregateError).errors) errors.push(each);
      }
    }
    const [first] = errors;
    if (errors.length === 1 || !(first instanceof StartError)) throw first;
    throw new StartError(this.#name, `none of its ${errors.length} targets is up`, first, new AggregateError(errors));
  }

  async #start({ id: target, server }: Target<S>): Promise<void> {
    try {
      await server.start();
    } catch (error) {
      this.#options.logger.warn({ server: this.#name, target, error: messageOf(error) }, 'target did not start');
      throw error;
    }
  }

  async stop(options?: CloseOptions): Promise<void> {
    await this.#all((server) => server.stop(options));
  }

  async restart(): Promise<void> {
    const failed = new Map<string, unknown>();
    const one = ({ id, server }: Target<S>): Promise<void> =>
      server.restart().catch((error: unknown) => void failed.set(id, error));
    await Promise.all(this.targets.all.map(one));
    const [first, ...more] = failed.values();
    if (failed.size === 0) return;
    // Of one that was ended meanwhile.
    if (!(first instanceof StartError)) throw first;
    const why = [...failed].map(([id, error]) => `target ${id}: ${messageOf(error)}`).join('; ');
    throw new StartError(this.#name, why, first, more.length === 0 ? first : new AggregateError([first, ...more]));
  }

  async remove({ graceMs = CLOSE_DEFAULTS.graceMs }: CloseOptions = {}): Promise<void> {
    this.#closing.abort(new ClosedError(`server ${this.#name}`));
    // Named: those that are drained may have had more time.
    await this.#all((server) => server.remove({ graceMs }));
    await Promise.all(this.#drains);
  }

  /** Whether a change to `config` leaves the targets as they are that both have. */
  takes(config: ServerConfig): config is SeveralServersConfig {
    const settings = (of: SeveralServersConfig): string => fingerprint(settingsOf(of) as SingleServerConfig);
    return isSeveral(config) && settings(config) === settings(this.targets.config);
  }

  /** Adds and removes targets, and changes how calls are spread. Resolves when those that go are gone. */
  async update(config: SeveralServersConfig): Promise<void> {
    const gone = this.targets.update(config);
    this.router.update();
    this.#options.onChange();
    await settleAll(
      gone.map((target) => this.#drain(target)),
      `server ${this.#name} left a target alive`,
    );
  }

  /** The session of `caller` on the server of target `id` is over. */
  lost(caller: Pick<Caller, 'principal' | 'key'>, id: string): void {
    const target = this.targets.all.find((each) => each.id === id);
    if (target !== undefined) this.#sticky.unbind(caller, target);
  }

  async release(principal: string | undefined, key: string): Promise<void> {
    this.#sticky.release(principal, key);
    await this.#all(({ partitions }) => partitions.release(principal, key));
  }

  /** On the target of the caller's session, or on one that takes it. */
  async onOne<T>(
    options: Pick<RoutedOptions, 'caller' | 'signal' | 'acquireTimeoutMs'>,
    run: OnTarget<S, T>,
  ): Promise<T> {
    const { caller, acquireTimeoutMs } = options;
    const { clock } = this.#options;
    const untilMs = clock.now() + this.router.acquireMs({ acquireTimeoutMs });
    const tried = new Set<string>();
    // What is begun there and goes on is all one to who is refused it.
    const call = { method: '', params: undefined, caller };
    let last: unknown = new ClosedError(`server ${this.#name}`);
    for (;;) {
      const chosen = this.router.choose(caller, tried, call);
      if (chosen === undefined) throw last;
      const { target, pick } = chosen;
      tried.add(target.id);
      try {
        const left = tried.size > 1 &&
          acquireTimeoutMs !== undefined && { acquireTimeoutMs: Math.max(0, untilMs - clock.now()) };
        const own = await run(target.server, { ...this.callerOf(caller), ...left }, () => pick?.abandoned());
        pick?.lasts();
        return own;
      } catch (error) {
        this.router.failed(target, pick, error, options, call);
        last = error;
        if (!this.router.leaves(error, target, caller) || clock.now() >= untilMs) throw error;
      }
    }
  }

  /**
   * On every target that has told the caller of itself, since what is told there is meant for all; on one, if none has, and for a
   * session. Resolves as soon as one has taken it.
   */
  async onEach<T>(caller: Caller | undefined, run: OnTarget<S, T>): Promise<T> {
    const plain = this.callerOf(caller);
    const up = this.targets.main.filter(({ server }) => server.info(plain.caller) !== undefined);
    if (this.#options.sharing === 'bound' || up.length === 0) {
      return this.onOne(caller === undefined ? {} : { caller }, (server, own, over) =>
        run(server, own, over).finally(over),
      );
    }
    const told = up.map(({ server }) => run(server, plain, () => undefined));
    return Promise.any(told).catch((error: AggregateError) => {
      throw error.errors[0];
    });
  }

  /** A call's options as the targets get them. */
  optionsOf(options: O): O {
    const { caller } = options;
    const plain = this.plain(caller);
    return plain === caller ? options : { ...options, caller: plain };
  }

  /** As its targets see it, for a call's options. */
  callerOf(caller: Caller | undefined): { caller?: Caller } {
    const plain = this.plain(caller);
    return plain === undefined ? {} : { caller: plain };
  }

  plain(caller: Caller | undefined): Caller | undefined {
    if (caller === undefined || this.#options.sharing === 'bound') return caller;
    let plain = this.#plain.get(caller);
    if (plain === undefined) {
      // Its context stays whatever is the newest when it is asked for.
      const { key: _, ...rest } = Object.getOwnPropertyDescriptors(caller);
      plain = Object.defineProperties({}, rest);
      this.#plain.set(caller, plain);
    }
    return plain;
  }

  /** What is left of the session there is ended, for whenever the target is back. */
  #lost(target: Target<S>, caller: Caller | undefined): void {
    const { logger, onSessionLost } = this.#options;
    const ended = target.server.partitions.release(caller?.principal, caller?.key ?? '');
    ended.catch((error: unknown) => logger.error({ server: this.#name, error }, 'a lost session did not end'));
    onSessionLost(target.id, caller);
  }

  async #all(run: (server: S) => Promise<void>): Promise<void> {
    await settleAll(this.servers.map(run), `server ${this.#name}: several of its targets failed`);
  }

  /** Its calls and sessions end within the time that they have; no others come. */
  #drain(target: Target<S>): Promise<void> {
    const { drainMs = 30_000 } = this.targets.config;
    const { clock, logger } = this.#options;
    logger.info({ server: this.#name, target: target.id }, 'target removed: it is drained');
    const end = async (): Promise<void> => {
      const held = drainMs > 0 && this.#sticky.holds(target);
      if (held) await this.#sticky.left(target, { clock, timeoutMs: drainMs, signal: this.closing });
      try {
        await target.server.remove({ graceMs: held ? 0 : drainMs });
      } finally {
        this.#sticky.forget(target);
        this.targets.forget(target);
        this.#options.onChange();
      }
    };
    const drained = end();
    const settled = drained.catch(() => undefined).finally(() => this.#drains.delete(settled));
    this.#drains.add(settled);
    return drained;
  }
}
