import { Balancer, type PickOptions } from '../concurrent/balance/Balancer.js';
import { OutlierDetector } from '../concurrent/balance/OutlierDetector.js';
import type { BalancerPick } from '../concurrent/balance/pick/BalancerPick.js';
import type { Caller } from '../connection/calls/Caller.js';
import type { Clock } from '../core/clock.js';
import type { Logger } from '../core/logger.js';
import { canonical, fingerprint } from '../registry/config/fingerprint.js';
import type { SeveralServersConfig, SingleServerConfig, TargetReach } from '../registry/config/ServerConfig.js';
import { type ServerTargetConfig, targetConfig, targetsOf } from '../registry/config/targets/targetsOf.js';
import { type RoutedServer, Target, targetId } from './Target.js';

export interface TargetTableOptions<S> {
  readonly clock: Clock;
  readonly logger: Logger;
  /** From 0 to 1, as `Math.random`. */
  readonly random: () => number;
  /** Makes the server of a new target; nothing is started. `shadow`: of a mirror or a canary. */
  readonly make: (config: SingleServerConfig, id: string, shadow: boolean) => S;
}

export interface TargetPickOptions extends PickOptions {
  /** Whether a target is none for this call while there are others. */
  readonly avoids?: ((id: string) => boolean) | undefined;
}

/** The servers behind one name, and which of them a call may go to. */
export class TargetTable<S extends RoutedServer> {
  readonly #options: TargetTableOptions<S>;
  #config: SeveralServersConfig;
  #balancer: Balancer<Target<S>>;
  #outliers: OutlierDetector;
  #main: readonly Target<S>[] = [];
  #mirror: Target<S> | undefined;
  #canary: Target<S> | undefined;
  readonly #draining = new Set<Target<S>>();
  #byId: ReadonlyMap<string, Target<S>> = new Map();
  readonly #ids = new Set<string>();

  constructor(config: SeveralServersConfig, options: TargetTableOptions<S>) {
    this.#options = options;
    this.#config = config;
    this.#outliers = this.#detector(config);
    this.#balancer = this.#spread(config);
    this.update(config);
  }

  get config(): SeveralServersConfig {
    return this.#config;
  }

  /** Those that calls go to, in the order of the config. */
  get main(): readonly Target<S>[] {
    return this.#main;
  }

  get mirror(): Target<S> | undefined {
    return this.#mirror;
  }

  get canary(): Target<S> | undefined {
    return this.#canary;
  }

  get balancer(): Balancer<Target<S>> {
    return this.#balancer;
  }

  /** All there are: mirror, canary and those that are being drained, too. */
  get all(): readonly Target<S>[] {
    return [...this.#main, ...this.others, ...this.#draining];
  }

  /** Mirror and canary. */
  get others(): readonly Target<S>[] {
    return [this.#mirror, this.#canary].filter((each) => each !== undefined);
  }

  /** Takes up what another config says of targets and balance; those that stay are not touched. Returns those to be drained. */
  update(config: SeveralServersConfig): readonly Target<S>[] {
    const before = this.#config;
    const left = [...this.#main];
    this.#main = targetsOf(config).map((given) => this.#take(given, left));
    const gone = [...left];
    this.#mirror = this.#other(config, config.mirror?.to, this.#mirror, gone);
    this.#canary = this.#other(config, config.canary?.to, this.#canary, gone);
    for (const target of gone) {
      target.draining = true;
      this.#draining.add(target);
    }
    this.#config = config;
    const told = ({ balance, zone, outliers }: SeveralServersConfig): string => canonical([balance, zone, outliers]);
    if (told(before) !== told(config)) {
      this.#outliers = this.#detector(config);
      this.#balancer = this.#spread(config);
    }
    this.#byId = new Map(this.#main.map((target) => [target.id, target]));
    const targets = this.#main.map((target) => ({ id: target.id, target, weight: target.weight, zone: target.zone }));
    this.#balancer.update(targets);
    return gone;
  }

  /** A drained target is gone. */
  forget(target: Target<S>): void {
    this.#draining.delete(target);
    this.#ids.delete(target.id);
  }

  /** A target for one call. Those that would refuse it, and those to be avoided, are left out while there are others. */
  pick({ key, exclude, avoids }: TargetPickOptions = {}): BalancerPick<Target<S>> | undefined {
    const refuses = (id: string): boolean => this.#byId.get(id)?.server.refuses === true || exclude?.(id) === true;
    const best = avoids && this.#balancer.pick({ key, exclude: (id) => refuses(id) || avoids(id) });
    return best ?? this.#balancer.pick({ key, exclude: refuses }) ?? this.#balancer.pick({ key, exclude });
  }

  /** As `pick`, only of those that are up for the caller, and well. */
  pickUp({ key, exclude, avoids }: TargetPickOptions, caller: Caller | undefined): BalancerPick<Target<S>> | undefined {
    const left = (id: string): boolean => exclude?.(id) !== true && avoids?.(id) !== true && this.#isWell(id);
    const isUp = (id: string): boolean => left(id) && this.#byId.get(id)?.server.stateFor(caller) === 'ready';
    return this.#balancer.pick({ key, exclude: (id) => !isUp(id) });
  }

  /** Whether a call may go to another than those that it was tried on, without being refused or likely to fail. */
  hasWell(tried: ReadonlySet<string>, avoids: (id: string) => boolean): boolean {
    return this.#main.some(({ id, weight }) => weight > 0 && !tried.has(id) && !avoids(id) && this.#isWell(id));
  }

  /** Whether a target is left alone for its failures while others are not. */
  isGone(target: Target<S>): boolean {
    const gone = ({ id, server }: Target<S>): boolean => this.#outliers.share(id) === 0 || server.refuses;
    return gone(target) && this.#main.some((each) => each !== target && each.weight > 0 && !gone(each));
  }

  #isWell(id: string): boolean {
    return this.#byId.get(id)?.server.refuses === false && this.#outliers.share(id) > 0;
  }

  #take(given: ServerTargetConfig, left: Target<S>[]): Target<S> {
    const print = fingerprint(given.config);
    const at = left.findIndex((each) => each.fingerprint === print);
    const [known] = at < 0 ? [] : left.splice(at, 1);
    if (known === undefined) return this.#make(given);
    known.weight = given.weight;
    known.zone = given.zone;
    return known;
  }

  #other(
    config: SeveralServersConfig,
    to: TargetReach | undefined,
    known: Target<S> | undefined,
    gone: Target<S>[],
  ): Target<S> | undefined {
    const given = to && { config: targetConfig(config, to), weight: 0, zone: undefined };
    if (given !== undefined && known?.fingerprint === fingerprint(given.config)) return known;
    if (known !== undefined) gone.push(known);
    return given && this.#make(given, true);
  }

  #make(given: ServerTargetConfig, shadow = false): Target<S> {
    const id = targetId(given.config, (each) => this.#ids.has(each));
    this.#ids.add(id);
    return new Target(id, given, this.#options.make(given.config, id, shadow), shadow);
  }

  #detector({ name, outliers = {} }: SeveralServersConfig): OutlierDetector {
    const { clock, logger } = this.#options;
    const onEject = (target: string, reason: string): void =>
      logger.warn({ server: name, target, reason }, 'target ejected: it gets no calls for a while');
    return new OutlierDetector({ ...outliers, clock, logger, onEject });
  }

  #spread({ balance, zone }: SeveralServersConfig): Balancer<Target<S>> {
    const { clock, random } = this.#options;
    return new Balancer<Target<S>>({
      targets: [],
      ...(balance !== undefined && { policy: balance }),
      ...(zone !== undefined && { zone }),
      outliers: this.#outliers,
      random,
      clock,
    });
  }
}
