import { type Clock, systemClock } from '../../core/clock.js';
import { OptionError } from '../../core/errors.js';
import { tellListener } from '../../core/events.js';
import { type Logger, silentLogger } from '../../core/logger.js';
import { checkCount, checkFunction, checkMs, checkOneOf, withDefaults } from '../../core/options.js';
import { Votes } from '../breaker/Votes.js';
import { type AdaptiveState, next } from './adaptiveState.js';

export interface AdaptiveLimitOptions {
  /** `gradient` follows latency, `aimd` follows drops only. @defaultValue 'gradient' */
  readonly algorithm?: 'gradient' | 'aimd';
  /** The limit at the start: a whole number from `minLimit` to `maxLimit`. @defaultValue 20 */
  readonly initialLimit?: number;
  /** The least limit: a whole number from 1. @defaultValue 1 */
  readonly minLimit?: number;
  /** The greatest limit: a whole number from `minLimit`. @defaultValue 1000 */
  readonly maxLimit?: number;
  /** How much more than the server seems to take is let in, from 0.01 to 0.5 of the limit. @defaultValue 0.08 */
  readonly headroomRatio?: number;
  /** What a window with drops multiplies the limit by, from 0.1 to 0.99. @defaultValue 0.9 */
  readonly backoffRatio?: number;
  /** Calls in a window: a whole number from 1; a window also has at least twice as many as the limit. @defaultValue 50 */
  readonly windowCalls?: number;
  /** A window that has at least ten calls also ends after so long, in ms from 1. @defaultValue 1000 */
  readonly windowMs?: number;
  /** Windows between two measurements of the latency without a queue: a whole number from 2. @defaultValue 20 */
  readonly probeEvery?: number;
  /** What the limit is cut to for such a measurement, from 0.1 to 0.95 of itself. @defaultValue 0.7 */
  readonly probeRatio?: number;
  /** Told of each new limit. What it throws is logged. @defaultValue none */
  readonly onChange?: (limit: number) => void;
  /** Measures time and arms timers; a `FakeClock` in tests. @defaultValue the system's clock */
  readonly clock?: Clock;
  /** Where it logs; anything with pino's methods. @defaultValue a logger that is silent */
  readonly logger?: Logger;
}

export const ADAPTIVE_LIMIT_DEFAULTS = Object.freeze({
  algorithm: 'gradient',
  initialLimit: 20,
  minLimit: 1,
  maxLimit: 1_000,
  headroomRatio: 0.08,
  backoffRatio: 0.9,
  windowCalls: 50,
  windowMs: 1_000,
  probeEvery: 20,
  probeRatio: 0.7,
} as const);

/** A call let in: hand it to `succeeded`, `dropped` or `ignored`, once; again is a no-op. */
export interface AdaptiveTicket {
  readonly startedMs: number;
}

/** An owner, and how many calls it has in flight. */
interface Holder {
  readonly owner: string;
  calls: number;
}

class Ticket implements AdaptiveTicket {
  readonly startedMs: number;
  readonly holder: Holder | undefined;
  /** What let it in, until it has ended. */
  limit: AdaptiveLimit | undefined;

  constructor(limit: AdaptiveLimit, startedMs: number, holder: Holder | undefined) {
    this.limit = limit;
    this.startedMs = startedMs;
    this.holder = holder;
  }
}

/** What a limit holds and has counted. */
export interface AdaptiveLimitInspection {
  readonly limit: number;
  readonly inFlight: number;
  /** Latency without a queue, in ms, as last measured. */
  readonly baseMs: number | undefined;
  /** Whether the limit is cut for the moment to measure that. */
  readonly probing: boolean;
  readonly refused: number;
  readonly dropped: number;
}

const FEWEST_CALLS = 10;
/** So many owners have a call in flight whatever the limit is. */
const FEWEST_OWNERS = 2;
/** So many are remembered that have none: to set and delete an entry of a Map for each call takes more than the rest of it. */
const IDLE_OWNERS = 64;

/**
 * How many calls a server takes at a time, found by watching it: docs/balancing.md. `tryAcquire` never waits; who wants to
 * wait puts a queue in front, as a pool with `maxConcurrent: 'auto'` does. How the limit moves is a pure function,
 * `next` in adaptiveState.ts.
 */
export class AdaptiveLimit {
  readonly #options: ReturnType<typeof resolve>;
  #state: AdaptiveState;
  #inFlight = 0;
  readonly #holders = new Map<string, Holder>();
  /** How many of them have calls in flight. */
  #holding = 0;
  #windowStartMs: number;
  #calls = 0;
  #sumMs = 0;
  #peak = 0;
  #drops = 0;
  /** Whose those are. */
  readonly #droppers = new Votes();
  /** Whose call was answered first in this window, and whether another's was. */
  #answered: string | undefined;
  #othersAnswered = false;
  #refused = 0;
  #dropped = 0;

  constructor(options: AdaptiveLimitOptions = {}) {
    this.#options = resolve(options);
    const { initialLimit, clock } = this.#options;
    this.#state = { limit: initialLimit, baseMs: Number.POSITIVE_INFINITY, age: 0, cut: undefined, probing: false };
    this.#windowStartMs = clock.now();
  }

  /** Calls that may be in flight: a whole number. */
  get limit(): number {
    return Math.floor(this.#state.limit);
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /**
   * Whether others hold the limit while `owner` has no call in flight. One is let in beyond it then, as long as fewer owners than the limit
   * (or two) have any: one whose calls hang locks none out, and windows end.
   */
  isKeptOut(owner: string | undefined): boolean {
    if (owner === undefined || this.#inFlight < this.limit) return false;
    return this.#holding < Math.max(FEWEST_OWNERS, this.limit) && !this.#holders.get(owner)?.calls;
  }

  /** Lets a call in, or not: undefined. `owner`: whose it is. */
  tryAcquire(owner?: string): AdaptiveTicket | undefined {
    if (this.#inFlight >= this.limit && !this.isKeptOut(owner)) {
      this.#refused++;
      return undefined;
    }
    this.#inFlight++;
    if (this.#inFlight > this.#peak) this.#peak = this.#inFlight;
    const holder = owner === undefined ? undefined : this.#hold(owner);
    return new Ticket(this, this.#options.clock.now(), holder);
  }

  /** The call was answered: its latency counts. `caller`: whose it was. */
  succeeded(ticket: AdaptiveTicket, caller?: string): void {
    const nowMs = this.#options.clock.now();
    if (!this.#ended(ticket)) return;
    // One that began under an earlier limit tells of that one.
    if (ticket.startedMs < this.#windowStartMs) return;
    if (this.#calls === 0) this.#answered = caller;
    else if (caller !== this.#answered) this.#othersAnswered = true;
    this.#calls++;
    this.#sumMs += nowMs - ticket.startedMs;
    this.#turn(nowMs);
  }

  /**
   * The call was refused for load, or timed out: a sign of too much. `caller`: whose it was; where all drops of a window are one caller's,
   * and others' calls were answered, they count for nothing.
   */
  dropped(ticket: AdaptiveTicket, caller?: string): void {
    if (!this.#ended(ticket)) return;
    if (this.#drops === 0) this.#droppers.clear();
    if (caller !== undefined) this.#droppers.add(caller, Number.POSITIVE_INFINITY);
    this.#drops++;
    this.#dropped++;
    this.#turn(this.#options.clock.now());
  }

  /** The call ended in a way that tells nothing: aborted, or failed at once. */
  ignored(ticket: AdaptiveTicket): void {
    this.#ended(ticket);
  }

  #hold(owner: string): Holder {
    const known = this.#holders.get(owner);
    const holder = known ?? { owner, calls: 0 };
    if (known === undefined) this.#holders.set(owner, holder);
    if (++holder.calls === 1) this.#holding++;
    return holder;
  }

  /** False when it has ended before, or is none of this limit. */
  #ended(ticket: AdaptiveTicket): boolean {
    if (!(ticket instanceof Ticket) || ticket.limit !== this) return false;
    ticket.limit = undefined;
    this.#inFlight--;
    const { holder } = ticket;
    if (holder === undefined || --holder.calls > 0) return true;
    this.#holding--;
    if (this.#holders.size > IDLE_OWNERS) this.#holders.delete(holder.owner);
    return true;
  }

  inspect(): AdaptiveLimitInspection {
    const { baseMs, probing } = this.#state;
    return {
      limit: this.limit,
      inFlight: this.#inFlight,
      baseMs: baseMs === Number.POSITIVE_INFINITY ? undefined : baseMs,
      probing,
      refused: this.#refused,
      dropped: this.#dropped,
    };
  }

  #turn(nowMs: number): void {
    const { windowCalls, windowMs, onChange } = this.#options;
    const drops = this.#isOfOne() ? 0 : this.#drops;
    const calls = this.#calls + drops;
    const full = calls >= Math.max(windowCalls, 2 * this.#state.limit);
    if (!full && (calls < FEWEST_CALLS || nowMs - this.#windowStartMs < windowMs)) return;
    const before = this.limit;
    // Without an answer there are drops, and no mean is asked for.
    const meanMs = this.#sumMs / Math.max(1, this.#calls);
    const sample = { meanMs, peakInFlight: this.#peak, drops };
    this.#state = next(this.#state, sample, this.#options);
    this.#windowStartMs = nowMs;
    this.#calls = 0;
    this.#sumMs = 0;
    this.#drops = 0;
    this.#othersAnswered = false;
    this.#peak = this.#inFlight;
    if (this.limit === before || onChange === undefined) return;
    tellListener(onChange, this.limit, (error) =>
      this.#options.logger.error({ error }, 'onChange of an adaptive limit failed'),
    );
  }

  /** Whether all drops of this window are one caller's, and others' calls were answered. */
  #isOfOne(): boolean {
    if (this.#drops === 0 || this.#calls === 0) return false;
    const dropper = this.#droppers.only(this.#drops);
    return dropper !== undefined && (this.#othersAnswered || dropper !== this.#answered);
  }
}

function ratio(option: string, value: unknown, min: number, max: number): void {
  if (typeof value === 'number' && value >= min && value <= max) return;
  throw new OptionError(option, value, `a number from ${min} to ${max}`);
}

/** @throws OptionError */
function resolve(given: AdaptiveLimitOptions) {
  const options = withDefaults('AdaptiveLimit', given, ADAPTIVE_LIMIT_DEFAULTS, {
    onChange: true,
    clock: true,
    logger: true,
  });
  checkOneOf('algorithm', options.algorithm, ['gradient', 'aimd']);
  const minLimit = checkCount('minLimit', options.minLimit, { min: 1 });
  const maxLimit = checkCount('maxLimit', options.maxLimit, { min: minLimit });
  // The default gives way to bounds that exclude it; what was asked for does not.
  const initialLimit = given.initialLimit ?? Math.min(maxLimit, Math.max(minLimit, options.initialLimit));
  checkCount('initialLimit', initialLimit, { min: minLimit, max: maxLimit });
  ratio('headroomRatio', options.headroomRatio, 0.01, 0.5);
  ratio('backoffRatio', options.backoffRatio, 0.1, 0.99);
  ratio('probeRatio', options.probeRatio, 0.1, 0.95);
  checkCount('windowCalls', options.windowCalls, { min: 1 });
  checkMs('windowMs', options.windowMs, { min: 1 });
  checkCount('probeEvery', options.probeEvery, { min: 2 });
  if (options.onChange !== undefined) checkFunction('onChange', options.onChange);
  return { ...options, initialLimit, clock: options.clock ?? systemClock, logger: options.logger ?? silentLogger };
}
