import { type Clock, systemClock } from '../../core/clock.js';
import { OptionError } from '../../core/errors.js';
import { tellListener } from '../../core/events.js';
import { type Logger, silentLogger } from '../../core/logger.js';
import { checkCount, checkFunction, checkMs, checkRatio, withDefaults } from '../../core/options.js';
import { Votes } from '../breaker/Votes.js';

export interface OutlierDetectorOptions {
  /** Failures in a row that eject a target: a whole number from 1, or `Infinity` for never; of one that is coming back, the first. @defaultValue 5 */
  readonly consecutiveFailures?: number;
  /** Share of failed calls of an interval that ejects, from 0.01 to 1, or `Infinity` for never. @defaultValue 0.5 */
  readonly failureRatio?: number;
  /**
   * How many times the median of all targets' median latencies a target may take, from 1.1, or `Infinity` for any.
   * @defaultValue 5
   */
  readonly latencyFactor?: number;
  /** Calls of an interval below which its shares and latencies eject nothing: a whole number from 1. @defaultValue 10 */
  readonly minCalls?: number;
  /** How often shares and latencies are looked at, in ms from 10. @defaultValue 1000 */
  readonly intervalMs?: number;
  /** The first ejection of a target, in ms from 1; each more in a row takes that much longer. @defaultValue 5000 */
  readonly ejectionMs?: number;
  /** The longest ejection, in ms from `ejectionMs`. @defaultValue 60000 */
  readonly maxEjectionMs?: number;
  /** Share of the targets that may be out at a time, from 0 (none ever) to 1. @defaultValue 0.5 */
  readonly maxEjectedRatio?: number;
  /** How long a target that comes back takes to its full weight, in ms from 0; 0: at once. @defaultValue 10000 */
  readonly slowStartMs?: number;
  /** Told when a target is ejected. What it throws is logged. @defaultValue none */
  readonly onEject?: (id: string, reason: EjectionReason) => void;
  /** Measures time and arms timers; a `FakeClock` in tests. @defaultValue the system's clock */
  readonly clock?: Clock;
  /** Where it logs; anything with pino's methods. @defaultValue a logger that is silent */
  readonly logger?: Logger;
}

export const OUTLIER_DETECTOR_DEFAULTS = Object.freeze({
  consecutiveFailures: 5,
  failureRatio: 0.5,
  latencyFactor: 5,
  minCalls: 10,
  intervalMs: 1_000,
  ejectionMs: 5_000,
  maxEjectionMs: 60_000,
  maxEjectedRatio: 0.5,
  slowStartMs: 10_000,
});

export type EjectionReason = 'consecutiveFailures' | 'failureRatio' | 'latency';

/** What a detector holds about one target. */
export interface OutlierInspection {
  readonly ejected: boolean;
  /** Milliseconds until it comes back; 0 when it is in. */
  readonly backInMs: number;
  /** Share of its weight that it gets, from 0 to 1. */
  readonly share: number;
  readonly ejections: number;
  readonly failuresInRow: number;
}

/** A target that comes back begins with this share of its weight. */
const FIRST_SHARE = 0.1;

/** Answers of one interval that are looked at. */
const MAX_LATENCIES = 128;

interface Health {
  calls: number;
  failures: number;
  /** Of the last answers of this interval, in ms. */
  readonly latenciesMs: number[];
  /** Whose answers those are. */
  readonly callers: (string | undefined)[];
  answered: number;
  inRow: number;
  /** Of the failures in a row; of a run that is over, until the next failure. */
  readonly votes: Votes;
  /** Ejections in a row; one interval without trouble takes one off. */
  level: number;
  ejections: number;
  outUntilMs: number;
}

/**
 * Passive health: it watches the calls to several targets and takes out those that fail or are much slower than the others,
 * each for a time that grows, never more than a share of them all. One that comes back gets its calls back slowly, and is out
 * again with its first failure until it has them all.
 * It has no timer: time is looked at when a call ends or a target is asked for. (Envoy's outlier detection.)
 */
export class OutlierDetector {
  readonly #options: ReturnType<typeof resolve>;
  readonly #targets = new Map<string, Health>();
  #intervalEndMs: number;

  constructor(options: OutlierDetectorOptions = {}) {
    this.#options = resolve(options);
    this.#intervalEndMs = this.#options.clock.now() + this.#options.intervalMs;
  }

  /** Targets out now. */
  get ejected(): number {
    const nowMs = this.#options.clock.now();
    let count = 0;
    for (const { outUntilMs } of this.#targets.values()) if (nowMs < outUntilMs) count++;
    return count;
  }

  /** Begins to watch a target; one that is watched already stays as it is. */
  add(id: string): void {
    if (this.#targets.has(id)) return;
    this.#targets.set(id, {
      calls: 0,
      failures: 0,
      latenciesMs: [],
      callers: [],
      answered: 0,
      inRow: 0,
      votes: new Votes(),
      level: 0,
      ejections: 0,
      outUntilMs: Number.NEGATIVE_INFINITY,
    });
  }

  remove(id: string): void {
    this.#targets.delete(id);
  }

  /** A call to the target was answered after so long. `caller`: whose it was; no caller's latencies alone eject a target. */
  succeeded(id: string, latencyMs: number, caller?: string): void {
    const health = this.#targets.get(id);
    if (health === undefined) return;
    health.inRow = 0;
    health.calls++;
    const at = health.answered++ % MAX_LATENCIES;
    health.latenciesMs[at] = latencyMs;
    health.callers[at] = caller;
    this.#look(this.#options.clock.now());
  }

  /**
   * A call to the target failed by the target's fault. `voter`: the caller that may have brought it about by itself. Of failures in a row
   * those of one voter count for half of `consecutiveFailures` at most, none ejects alone, and they are no part of `failureRatio`.
   */
  failed(id: string, voter?: string): void {
    const health = this.#targets.get(id);
    if (health === undefined) return;
    const nowMs = this.#options.clock.now();
    const { consecutiveFailures } = this.#options;
    if (health.inRow === 0) health.votes.clear();
    if (voter === undefined) {
      health.inRow++;
      health.calls++;
      health.failures++;
    } else if (health.votes.add(voter, consecutiveFailures)) health.inRow++;
    // One that is coming back is still on trial: its first failure puts it out again.
    const trial = consecutiveFailures !== Number.POSITIVE_INFINITY && this.share(id, nowMs) < 1;
    const enough = trial || health.inRow >= consecutiveFailures;
    if (enough && health.votes.only(health.inRow) === undefined) this.#eject(id, health, 'consecutiveFailures', nowMs);
    this.#look(nowMs);
  }

  /** The share of its weight that a target gets now: 0 while it is out, then rising to 1. */
  share(id: string, nowMs = this.#options.clock.now()): number {
    const health = this.#targets.get(id);
    if (health === undefined || health.level === 0) return 1;
    if (nowMs < health.outUntilMs) return 0;
    const { slowStartMs } = this.#options;
    const sinceMs = nowMs - health.outUntilMs;
    return sinceMs >= slowStartMs ? 1 : FIRST_SHARE + (1 - FIRST_SHARE) * (sinceMs / slowStartMs);
  }

  inspect(): Readonly<Record<string, OutlierInspection>> {
    const nowMs = this.#options.clock.now();
    const all: Record<string, OutlierInspection> = Object.create(null);
    for (const [id, { outUntilMs, ejections, inRow }] of this.#targets) {
      const backInMs = Math.max(0, outUntilMs - nowMs);
      all[id] = { ejected: backInMs > 0, backInMs, share: this.share(id, nowMs), ejections, failuresInRow: inRow };
    }
    return all;
  }

  /** At the end of an interval: shares and latencies, and forgiveness. */
  #look(nowMs: number): void {
    if (nowMs < this.#intervalEndMs) return;
    const { intervalMs, minCalls, failureRatio, latencyFactor, slowStartMs } = this.#options;
    this.#intervalEndMs = nowMs + intervalMs;
    const slow = new Map<string, number>();
    const usual: number[] = [];
    for (const [id, { answered, latenciesMs, callers }] of this.#targets) {
      const medians = answered >= minCalls ? mediansByCaller(latenciesMs, callers) : [];
      if (medians.length === 0) continue;
      // Of two callers the one whose answers speak for the target: neither makes it slow alone, or others by being quick.
      slow.set(id, medians[(medians.length - 1) >> 1] ?? 0);
      usual.push(medians[medians.length >> 1] ?? 0);
    }
    const usualMs = slow.size > 1 ? median(usual) : Number.POSITIVE_INFINITY;
    for (const [id, health] of this.#targets) {
      const { calls, failures } = health;
      const latencyMs = slow.get(id) ?? 0;
      if (calls >= minCalls && failures / calls >= failureRatio) this.#eject(id, health, 'failureRatio', nowMs);
      else if (latencyMs > latencyFactor * Math.max(usualMs, Number.MIN_VALUE)) {
        this.#eject(id, health, 'latency', nowMs);
      } else if (health.level > 0 && calls > 0 && nowMs >= health.outUntilMs + slowStartMs) health.level--;
      health.calls = 0;
      health.failures = 0;
      health.answered = 0;
      health.latenciesMs.length = 0;
      health.callers.length = 0;
    }
  }

  #eject(id: string, health: Health, reason: EjectionReason, nowMs: number): void {
    const { ejectionMs, maxEjectionMs, maxEjectedRatio, onEject } = this.#options;
    if (nowMs < health.outUntilMs) return;
    if (this.ejected + 1 > Math.floor(this.#targets.size * maxEjectedRatio + 1e-9)) return;
    health.level++;
    health.ejections++;
    health.inRow = 0;
    health.outUntilMs = nowMs + Math.min(maxEjectionMs, ejectionMs * health.level);
    if (onEject === undefined) return;
    tellListener(
      () => onEject(id, reason),
      undefined,
      (error) => this.#options.logger.error({ error, target: id }, 'onEject of an outlier detector failed'),
    );
  }
}

/** @throws OptionError */
function resolve(given: OutlierDetectorOptions) {
  const options = withDefaults('OutlierDetector', given, OUTLIER_DETECTOR_DEFAULTS, {
    onEject: true,
    clock: true,
    logger: true,
  });
  const { failureRatio, latencyFactor } = options;
  checkCount('consecutiveFailures', options.consecutiveFailures, { min: 1, infinity: true });
  if (
    typeof failureRatio !== 'number' ||
    !(failureRatio === Number.POSITIVE_INFINITY || (failureRatio >= 0.01 && failureRatio <= 1))
  ) {
    throw new OptionError('failureRatio', failureRatio, 'a ratio from 0.01 to 1, or Infinity');
  }
  if (typeof latencyFactor !== 'number' || !(latencyFactor >= 1.1)) {
    throw new OptionError('latencyFactor', latencyFactor, 'a number, 1.1 or more, or Infinity');
  }
  checkCount('minCalls', options.minCalls, { min: 1 });
  checkMs('intervalMs', options.intervalMs, { min: 10 });
  checkMs('ejectionMs', options.ejectionMs, { min: 1 });
  checkMs('maxEjectionMs', options.maxEjectionMs, { min: options.ejectionMs });
  checkRatio('maxEjectedRatio', options.maxEjectedRatio);
  checkMs('slowStartMs', options.slowStartMs);
  if (options.onEject !== undefined) checkFunction('onEject', options.onEject);
  return { ...options, clock: options.clock ?? systemClock, logger: options.logger ?? silentLogger };
}

/** Of each caller's answers the median, the lowest first; none where all are those of one that has a name. */
function mediansByCaller(latenciesMs: readonly number[], callers: readonly (string | undefined)[]): number[] {
  const all = new Map<string | undefined, number[]>();
  for (const [at, latencyMs] of latenciesMs.entries()) {
    const own = all.get(callers[at]);
    if (own === undefined) all.set(callers[at], [latencyMs]);
    else own.push(latencyMs);
  }
  if (all.size === 1 && !all.has(undefined)) return [];
  return [...all.values()].map(median).sort((a, b) => a - b);
}

/** The lower of two in the middle: of two targets, the slow one must not be its own measure. */
function median(values: number[]): number {
  values.sort((a, b) => a - b);
  return values[(values.length - 1) >> 1] ?? 0;
}
