import type { Clock } from '../core/clock.js';
import { GracePeriod } from '../core/close/GracePeriod.js';
import { messageOf } from '../core/errors.js';
import { checkBoolean, checkFunction, checkMs, withDefaults } from '../core/options.js';
import { runBounded } from './plan/runBounded.js';

/** Is it well? A throw, a rejection or `false` says no. The signal aborts when its time is over. */
export type CheckFunction = (context: { readonly signal: AbortSignal }) => unknown;

export interface HealthCheckOptions {
  /** What is run to find out. */
  readonly check: CheckFunction;
  /** Whether its failure makes the process unready; otherwise it is only `degraded`. @defaultValue false */
  readonly critical?: boolean;
  /** Whether its failure means that only a restart helps: it counts for `live()` too. @defaultValue false */
  readonly live?: boolean;
  /** Longest run, in ms. Keep it below the probe's own timeout (Kubernetes: 1 s by default). @defaultValue 500 */
  readonly timeoutMs?: number;
  /** How long a result is used again, in ms. @defaultValue 1000 */
  readonly cacheMs?: number;
}

export const HEALTH_DEFAULTS = Object.freeze({ critical: false, live: false, timeoutMs: 500, cacheMs: 1_000 });

/** What a check found. */
export interface CheckLine {
  readonly name: string;
  readonly ok: boolean;
  readonly critical: boolean;
  /** How long it took, in ms. */
  readonly ms: number;
  /** How old the result is, in ms. */
  readonly ageMs: number;
  /** The message of what it threw. */
  readonly error?: string;
}

interface Finding {
  readonly atMs: number;
  readonly ms: number;
  readonly error?: string;
}

/** One named check: bounded in time, cached, and run once however many ask. */
export class HealthCheck {
  readonly name: string;
  readonly critical: boolean;
  readonly live: boolean;
  readonly #check: CheckFunction;
  readonly #timeoutMs: number;
  readonly #cacheMs: number;
  readonly #clock: Clock;
  #found: Finding | undefined;
  #probe: Promise<Finding> | undefined;
  /** Since when a run has been going on that was given up: no second one beside it. */
  #stuckMs: number | undefined;

  constructor(name: string, check: CheckFunction | HealthCheckOptions, clock: Clock) {
    const given: HealthCheckOptions = typeof check === 'function' ? { check } : check;
    const options = withDefaults(`checks.${name}`, given, HEALTH_DEFAULTS, { check: true });
    this.name = name;
    this.#clock = clock;
    this.#check = checkFunction(`checks.${name}`, options.check);
    this.critical = checkBoolean('critical', options.critical);
    this.live = checkBoolean('live', options.live);
    this.#timeoutMs = checkMs('timeoutMs', options.timeoutMs, { min: 1 });
    this.#cacheMs = checkMs('cacheMs', options.cacheMs);
  }

  /** The last finding, without running anything; undefined when there is none. */
  get last(): CheckLine | undefined {
    return this.#found === undefined ? undefined : this.#line(this.#found);
  }

  async line(): Promise<CheckLine> {
    if (this.#found !== undefined && this.#clock.now() - this.#found.atMs < this.#cacheMs)
      return this.#line(this.#found);
    this.#probe ??= this.#run().finally(() => {
      this.#probe = undefined;
    });
    return this.#line(await this.#probe);
  }

  async #run(): Promise<Finding> {
    const startMs = this.#clock.now();
    if (this.#stuckMs !== undefined) {
      return this.#find(startMs, `still running after ${Math.round(startMs - this.#stuckMs)} ms`);
    }
    const { outcome, error } = await runBounded({
      name: this.name,
      target: async ({ signal }) => {
        if ((await this.#check({ signal })) === false) throw new Error('the check said no');
      },
      reason: 'health check',
      grace: new GracePeriod(this.#clock, this.#timeoutMs),
      graceMs: 0,
      onLate: () => {
        this.#stuckMs = undefined;
      },
    });
    if (outcome === 'timeout') this.#stuckMs = startMs;
    return this.#find(startMs, error === undefined ? undefined : messageOf(error));
  }

  #find(startMs: number, error: string | undefined): Finding {
    const atMs = this.#clock.now();
    this.#found = { atMs, ms: atMs - startMs, ...(error !== undefined && { error }) };
    return this.#found;
  }

  #line({ atMs, ms, error }: Finding): CheckLine {
    const ageMs = this.#clock.now() - atMs;
    const ok = error === undefined;
    return { name: this.name, ok, critical: this.critical, ms, ageMs, ...(error !== undefined && { error }) };
  }
}
