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
import { hash32 } from './hashing.js';
import { OutlierDetector, type OutlierInspection } from './OutlierDetector.js';
import { type BalancePolicy, type Candidate, type Choose, observe, policy, rejectedMs } from './policies.js';

export interface BalancerTarget<T> {
  /** Names it: unique among the targets. A target of an update with a known id keeps its load and its latencies. */
  readonly id: string;
  /** What a pick hands out. */
  readonly target: T;
  /** Its part of the calls in relation to the others, from 0 (none) to 1,000,000. @defaultValue 1 */
  readonly weight?: number | undefined;
  /** Where it is; those of the balancer's own zone are preferred. @defaultValue none */
  readonly zone?: string | undefined;
}

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
  /** Peak-EWMA of the latency in ms; undefined before the first answer. */
  readonly ewmaMs: number | undefined;
  readonly picked: number;
  readonly health: OutlierInspection | undefined;
}

/** What a failure counts as at the least, in ms, before it is doubled. */
const FAILURE_MS = 1;
/** Failures in a row make a target no slower than this, in ms, by themselves. */
const MAX_FAILURE_MS = 60_000;

class Entry<T> implements Candidate {
  readonly id: string;
  readonly hash: number;
  target: T;
  weight: number;
  zone: string | undefined;
  share = 0;
  inFlight = 0;
  ewmaMs = 0;
  ewmaAtMs = 0;
  credit = 0;
  picked = 0;
  rejected: string | undefined;

  constructor({ id, target, weight = 1, zone }: BalancerTarget<T>) {
    this.id = id;
    this.hash = hash32(id);
    this.target = target;
    this.weight = weight;
    this.zone = zone;
  }
}

type End = 'succeeded' | 'failed' | 'rejected' | 'outrun' | 'abandoned' | 'withdrawn';
type EndOfPick<T> = (entry: Entry<T>, how: End, startedMs: number, caller: string | undefined) => void;

/** A call on its way to a target. End it once, by one of the six; again is a no-op. */
export class BalancerPick<T> {
  readonly id: string;
  readonly target: T;
  readonly #entry: Entry<T>;
  readonly #end: EndOfPick<T>;
  readonly #startedMs: number;
  #over = false;

  /** @internal */
  constructor(entry: Entry<T>, startedMs: number, end: EndOfPick<T>) {
    this.id = entry.id;
    this.target = entry.target;
    this.#entry = entry;
    this.#startedMs = startedMs;
    this.#end = end;
  }

  /** It was answered: its latency counts. `caller`: whose call it was. */
  succeeded(caller?: string): void {
    this.#finish('succeeded', caller);
  }

  /** It failed by the target's fault. `voter`: the caller that may have brought it about by itself, see `OutlierDetector.failed`. */
  failed(voter?: string): void {
    this.#finish('failed', voter);
  }

  /** It was answered with an error, which is no failure of the target and says nothing of how long a result takes. `caller`: whose call it was. */
  rejected(caller?: string): void {
    this.#finish('rejected', caller);
  }

  /** Another target answered first, and it was given up: it would have taken at least this long. */
  outrun(): void {
    this.#finish('outrun');
  }

  /** It ended without telling anything of the target. */
  abandoned(): void {
    this.#finish('abandoned');
  }

  /** Nothing was sent there after all: it does not count as picked. */
  withdrawn(): void {
    this.#finish('withdrawn');
  }

  #finish(how: End, caller?: string): void {
    if (this.#over) return;
    this.#over = true;
    this.#end(this.#entry, how, this.#startedMs, caller);
  }
}

/**
 * Chooses among several targets for each call, by policy, weight, zone and health, and hears how it ended. It is synchronous
 * and has no timer. When no target is healthy all are tried: a guess is better than a certain refusal.
 */
export class Balancer<T> {
  readonly #choose: Choose;
  readonly #options;
  /** One function for all picks. */
  readonly #ended = (entry: Entry<T>, how: End, startedMs: number, caller: string | undefined): void => {
    entry.inFlight--;
    if (how === 'withdrawn') entry.picked--;
    if (how === 'abandoned' || how === 'withdrawn') return;
    const { clock, ewmaDecayMs, outliers } = this.#options;
    if (how === 'failed' && caller !== undefined) {
      // It must keep no calls of others away.
      outliers?.failed(entry.id, caller);
      return;
    }
    const nowMs = clock.now();
    let latencyMs = nowMs - startedMs;
    if (how === 'succeeded') entry.rejected = undefined;
    else if (how === 'rejected') latencyMs = Math.max(latencyMs, rejectedMs(entry, this.#entries, caller));
    if (how === 'failed') {
      // A failure may be quick: it counts as an answer twice as slow as any before it, so that calls stay away for a while.
      const slowMs = Math.max(latencyMs, entry.ewmaMs, FAILURE_MS);
      observe(entry, Math.min(2 * slowMs, Math.max(slowMs, MAX_FAILURE_MS)), nowMs, ewmaDecayMs);
      outliers?.failed(entry.id);
      return;
    }
    observe(entry, latencyMs, nowMs, ewmaDecayMs);
    outliers?.succeeded(entry.id, latencyMs, caller);
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
