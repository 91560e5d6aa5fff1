import { OptionError } from '../core/errors.js';
import { checkMs, checkRatio, withDefaults } from '../core/options.js';

/**
 * What can go wrong with a call, or with a start:
 * `delay` reaches the server late; `drop` never reaches it, and no answer comes; `hang` reaches it, and its answer is
 * lost; `duplicate` is answered twice; `truncate` the wire dies in the middle of the answer; `garbage` the answer is no
 * message; `error` is refused by the server; `crash` the wire dies as the call is under way; `refuse` the server
 * does not start.
 */
export type Fault = 'delay' | 'drop' | 'hang' | 'duplicate' | 'truncate' | 'garbage' | 'error' | 'crash' | 'refuse';

const FAULTS: readonly Fault[] = [
  'delay',
  'drop',
  'hang',
  'duplicate',
  'truncate',
  'garbage',
  'error',
  'crash',
  'refuse',
];

export interface FaultPlanOptions {
  /** The same seed gives the same faults in the same order of calls: a 32-bit whole number. @defaultValue 1 */
  readonly seed?: number;
  /** The share of calls (of starts, for `refuse`) that each fault befalls, 0 to 1; together no more than 1. */
  readonly ratios: Partial<Readonly<Record<Fault, number>>>;
  /** How late a delayed call is, in ms. @defaultValue 10 */
  readonly delayMs?: number;
  /** Most faults, from 0 (none); then every call works. `Infinity`: no bound. @defaultValue Infinity */
  readonly maxFaults?: number;
}

/** Decides, from a seed, which calls go wrong and how. One plan may serve many connections. */
export class FaultPlan {
  readonly delayMs: number;
  readonly #ratios: readonly (readonly [Fault, number])[];
  readonly #counts = new Map<Fault, number>();
  #left: number;
  #state: number;

  /** @throws OptionError */
  constructor(options: FaultPlanOptions) {
    const defaults = { seed: 1, delayMs: 10, maxFaults: Number.POSITIVE_INFINITY };
    const { seed, ratios, delayMs, maxFaults } = withDefaults('FaultPlan', options, defaults, { ratios: true });
    for (const name of Object.keys(ratios)) {
      if (!FAULTS.includes(name as Fault)) throw new OptionError('ratios', name, FAULTS.join(', '));
    }
    this.#ratios = FAULTS.map((fault) => [fault, checkRatio(`ratios.${fault}`, ratios[fault] ?? 0)]);
    const total = this.#ratios.reduce((sum, [fault, ratio]) => (fault === 'refuse' ? sum : sum + ratio), 0);
    if (total > 1 + 1e-9) throw new OptionError('ratios', total, 'ratios that add up to 1 or less');
    if (!Number.isInteger(seed)) throw new OptionError('seed', seed, 'a whole number');
    this.delayMs = checkMs('delayMs', delayMs);
    this.#left = checkMs('maxFaults', maxFaults, { infinity: true });
    this.#state = seed >>> 0;
  }

  /** What befalls the next call; undefined: nothing. */
  nextCall(): Exclude<Fault, 'refuse'> | undefined {
    let at = this.#random();
    for (const [fault, ratio] of this.#ratios) {
      if (fault === 'refuse') continue;
      if (at < ratio) return this.#take(fault) ? fault : undefined;
      at -= ratio;
    }
    return undefined;
  }

  /** Whether the next start is refused. */
  nextStart(): boolean {
    const ratio = this.#ratios.find(([fault]) => fault === 'refuse')?.[1] ?? 0;
    return this.#random() < ratio && this.#take('refuse');
  }

  /** How often each fault came. */
  get counts(): Readonly<Partial<Record<Fault, number>>> {
    return Object.fromEntries(this.#counts);
  }

  #take(fault: Fault): boolean {
    if (this.#left <= 0) return false;
    this.#left--;
    this.#counts.set(fault, (this.#counts.get(fault) ?? 0) + 1);
    return true;
  }

  /** From 0 to 1, by a 32-bit xorshift of a counter that steps by the golden ratio. */
  #random(): number {
    this.#state = (this.#state + 0x9e3779b9) >>> 0;
    let x = this.#state;
    x = Math.imul(x ^ (x >>> 16), 0x21f0aaad);
    x = Math.imul(x ^ (x >>> 15), 0x735a2d97);
    return ((x ^ (x >>> 15)) >>> 0) / 2 ** 32;
  }
}
