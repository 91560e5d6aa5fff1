import { type Clock, systemClock } from '../../core/clock.js';
import { OptionError } from '../../core/errors.js';
import {
  checkAtOnce,
  checkFunction,
  checkMs,
  checkOneOf,
  checkRatio,
  checkText,
  withDefaults,
} from '../../core/options.js';
import { OutlierDetector, type OutlierInspection } from './OutlierDetector.js';
import { BalancerPick, type BalancerTarget, type End, Entry } from './pick/BalancerPick.js';
import { hash32 } from './pick/hashing.js';
import { failedMs, isKnown, isLate, observe, rejectedMs, unanswered } from './pick/latency.js';
import { type BalancePolicy, type Choose, policy } from './pick/policies.js';

export interface BalancerOptions<T> {
  /** What is picked from, by name. */
  readonly targets: readonly BalancerTarget<T>[];
  /**
   * `least-loaded`: fewest calls in flight by weight. `p2c-ewma`: of two by chance the lower expected wait. `round-robin`:
   * in turn, by weight. `failover`: the first that is healthy, in the order given. `hash`: by key.
   * @defaultValue 'p2c-ewma'
   */
  readonly policy?: BalancePolicy;
  /** How `hash` finds a target: `rendezvous` for up to some hundreds, `consistent` (a ring) for more. @defaultValue 'rendezvous' */
  readonly hashing?: 'rendezvous' | 'consistent';
  /** Targets of this zone are taken while one of them is healthy. @defaultValue all zones alike */
  readonly zone?: string;
  /** How fast old latencies are forgotten by `p2c-ewma`, in ms from 1. @defaultValue 10000 */
  readonly ewmaDecayMs?: number;
  /** Takes sick targets out. @defaultValue none: all are healthy */
  readonly outliers?: OutlierDetector;
  /** From 0 to 1, as `Math.random`, which is the default. @defaultValue Math.random */
  readonly random?: () => number;
  /** Measures time and arms timers; a `FakeClock` in tests. @defaultValue the system's clock */
  readonly clock?: Clock;
}

export const BALANCER_DEFAULTS = Object.freeze({
  policy: 'p2c-ewma',
  hashing: 'rendezvous',
  ewmaDecayMs: 10_000,
} as const);

export interface PickOptions {
  /** What `hash` goes by: a caller, a session. Without one a call goes anywhere. @defaultValue none */
  readonly key?: string | undefined;
  /** Whether a target may not be taken, as one that this call was tried on already. @defaultValue none */
  readonly exclude?: ((id: string) => boolean) | undefined;
}

/** What a balancer holds about one target. */
export interface BalancerInspection {
  readonly id: string;
  readonly weight: number;
  readonly zone: string | undefined;
  readonly inFlight: number;
  /** Peak-EWMA of the latency in ms, where calls were given up at least so long; undefined while nothing is known. */
  readonly ewmaMs: number | undefined;
  readonly picked: number;
  readonly health: OutlierInspection | undefined;
}

/**
 * Chooses among several targets for each call, by policy, weight, zone and health, and hears how it ended. It is synchronous
 * and has no timer. When no target is healthy all are tried: a guess is better than a certain refusal.
 */
export class Balancer<T> {
  readonly #choose: Choose;
  readonly #options;
  /** One function for all picks. */
  readonly #ended = (entry: Entry<T>, how: End, startedMs: number, caller: string | undefined): number => {
    entry.inFlight--;
    const { clock, ewmaDecayMs, outliers } = this.#options;
    const entries = this.#entries;
    const nowMs = clock.now();
    const latencyMs = nowMs - startedMs;
    if (how === 'succeeded') {
      entry.quietSinceMs = nowMs;
      entry.rejected = undefined;
      entry.guessed = false;
      observe(entry, latencyMs, nowMs, ewmaDecayMs);
      outliers?.succeeded(entry.id, latencyMs, caller);
    } else if (how === 'rejected') {
      entry.quietSinceMs = nowMs;
      const countsMs = rejectedMs(entry, entries, latencyMs, caller);
      if (countsMs > 0) observe(entry, countsMs, nowMs, ewmaDecayMs);
      outliers?.succeeded(entry.id, Math.max(latencyMs, countsMs), caller);
    } else if (how === 'outrun') {
      observe(entry, latencyMs, nowMs, ewmaDecayMs);
      outliers?.succeeded(entry.id, latencyMs);
    } else if (how === 'gaveUp') {
      const late = isLate(entry, entries, latencyMs);
      unanswered(entry, entries, latencyMs, nowMs, ewmaDecayMs);
      // Those without a name are one: what a program gives up ejects no target.
      if (late) outliers?.failed(entry.id, caller ?? '');
      return late ? latencyMs : 0;
    } else if (how === 'failed' && caller === undefined) {
      entry.quietSinceMs = nowMs;
      observe(entry, failedMs(entry, entries, latencyMs), nowMs, ewmaDecayMs);
      outliers?.failed(entry.id);
    } else if (how === 'withdrawn') entry.picked--;
    else {
      // A failure that is one caller's vote must keep no calls of others away.
      if (how === 'failed') outliers?.failed(entry.id, caller);
      if (!isKnown(entry)) unanswered(entry, entries, 0, nowMs, ewmaDecayMs);
    }
    return 0;
  };
  #entries: readonly Entry<T>[] = [];

  constructor(options: BalancerOptions<T>) {
    const all = withDefaults('Balancer', options, BALANCER_DEFAULTS, {
      targets: true,
      zone: true,
      outliers: true,
      random: true,
      clock: true,
    });
    checkOneOf('policy', all.policy, ['least-loaded', 'p2c-ewma', 'round-robin', 'failover', 'hash']);
    checkOneOf('hashing', all.hashing, ['rendezvous', 'consistent']);
    checkMs('ewmaDecayMs', all.ewmaDecayMs, { min: 1 });
    if (all.zone !== undefined) checkText('zone', all.zone);
    if (all.outliers !== undefined && !(all.outliers instanceof OutlierDetector)) {
      throw new OptionError('outliers', all.outliers, 'an OutlierDetector');
    }
    const { random: given } = all;
    const random = given === undefined ? Math.random : (): number => checkRatio('random', given());
    if (given !== undefined) checkFunction('random', given);
    this.#options = { ...all, random, clock: all.clock ?? systemClock };
    this.#choose = policy(all.policy, this.#options);
    this.update(all.targets);
  }

  /** Replaces the targets. Those that stay keep what is known of them; calls to those that go end as they do. */
  update(targets: readonly BalancerTarget<T>[]): void {
    if (!Array.isArray(targets)) throw new OptionError('targets', targets, 'an array of targets');
    const known = new Map(this.#entries.map((entry) => [entry.id, entry]));
    const ids = new Set<string>();
    for (const [index, { id, weight, zone }] of targets.entries()) {
      const at = `targets[${index}]`;
      if (ids.has(checkText(`${at}.id`, id))) throw new OptionError(`${at}.id`, id, 'an id that no other target has');
      ids.add(id);
      if (weight !== undefined && !(typeof weight === 'number' && weight >= 0 && weight <= 1_000_000)) {
        throw new OptionError(`${at}.weight`, weight, 'a number from 0 to 1000000');
      }
      if (zone !== undefined) checkText(`${at}.zone`, zone);
    }
    const { outliers } = this.#options;
    for (const id of known.keys()) if (!ids.has(id)) outliers?.remove(id);
    this.#entries = targets.map((given) => {
      outliers?.add(given.id);
      const old = known.get(given.id);
      if (old === undefined) return new Entry(given);
      old.target = given.target;
      old.weight = given.weight ?? 1;
      old.zone = given.zone;
      return old;
    });
  }

  /** Targets there are. */
  get size(): number {
    return this.#entries.length;
  }

  /** A target for one call; undefined when there is none, or every one is excluded or has weight 0. */
  pick({ key, exclude }: PickOptions = {}): BalancerPick<T> | undefined {
    const { clock, random, outliers, zone } = this.#options;
    const nowMs = clock.now();
    const entries = this.#entries;
    let healthy = 0;
    let near = 0;
    for (const each of entries) {
      const out = exclude !== undefined && checkAtOnce('exclude', exclude(each.id)) === true;
      each.share = out ? 0 : each.weight * (outliers?.share(each.id, nowMs) ?? 1);
      if (each.share <= 0) continue;
      healthy++;
      if (each.zone === zone) near++;
    }
    if (healthy === 0) for (const each of entries) each.share = exclude?.(each.id) === true ? 0 : each.weight;
    else if (zone !== undefined && near > 0) for (const each of entries) if (each.zone !== zone) each.share = 0;
    const keyHash = key === undefined ? Math.floor(random() * 4_294_967_296) : hash32(key);
    const chosen = this.#choose(entries, keyHash, nowMs) as Entry<T> | undefined;
    if (chosen === undefined) return undefined;
    if (chosen.inFlight === chosen.held) chosen.quietSinceMs = nowMs;
    chosen.inFlight++;
    chosen.picked++;
    return new BalancerPick(chosen, nowMs, this.#ended);
  }

  inspect(): readonly BalancerInspection[] {
    const health = this.#options.outliers?.inspect();
    return this.#entries.map(({ id, weight, zone, inFlight, ewmaMs, picked }) => ({
      id,
      weight,
      zone,
      inFlight,
      ewmaMs: ewmaMs === 0 ? undefined : ewmaMs,
      picked,
      health: health?.[id],
    }));
  }
}
