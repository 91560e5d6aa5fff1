import { type Clock, systemClock } from '../../core/clock.js';
import { messageOf, OptionError } from '../../core/errors.js';
import { Emitter, type Listener, tellListener } from '../../core/events.js';
import { type Logger, silentLogger } from '../../core/logger.js';
import { checkMs, checkOneOf, checkRatio, checkRecord, withDefaults } from '../../core/options.js';
import { within } from '../../core/time/within.js';
import { stampOf } from './events.js';
import type { FaultPlanOptions, FaultPlanParts, Injection, RuleHandle } from './FaultPlanOptions.js';
import { FAULT_NAMES, FAULTS, type Fault } from './faultTable.js';
import { randomOf } from './random.js';
import { ACTING_METHODS, checkRule, type FaultRule, type FaultSubject, isMeant } from './rule/FaultRule.js';
import { type PlanState, RuleTally } from './rule/RuleTally.js';
import { drawLatency, type FaultSettings } from './settings.js';
import { canBeOn } from './table/spec.js';

export type { FaultPlanOptions, FaultPlanParts, Injection, RuleHandle };

/** How long `injected` waits, in ms, where it is not told. */
const INJECTED_TIMEOUT_MS = 30_000;

/**
 * Decides, from rules and a seed, which calls and starts go wrong and how. One plan may serve many connections, and it
 * goes on over reconnects. It is plain data: `JSON.stringify(plan)` and `new FaultPlan(JSON.parse(text))` are a round
 * trip, and `String(plan)` says how to run it again.
 */
export class FaultPlan {
  readonly seed: number;
  readonly delayMs: number;
  readonly #maxFaults: number;
  readonly #ratios: readonly (readonly [Fault, number])[];
  readonly #tallies: RuleTally[] = [];
  readonly #counts = new Map<Fault, number>();
  readonly #events: Emitter<{ readonly injected: Injection }>;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #onState: ((state: PlanState) => void) | undefined;
  #draws: [calls: number, starts: number] = [0, 0];
  #paused = false;

  /** @throws OptionError, with the place of what is wrong */
  constructor(options: FaultPlanOptions, parts: FaultPlanParts = {}) {
    const defaults = { seed: 1, rules: [], ratios: {}, delayMs: 10, maxFaults: Number.POSITIVE_INFINITY };
    const { seed, rules, ratios, delayMs, maxFaults } = withDefaults('FaultPlan', options, defaults, {});
    const others = { state: true, onState: true } as const;
    const { clock, logger, state, onState } = withDefaults(
      'FaultPlan',
      parts,
      { clock: systemClock, logger: silentLogger },
      others,
    );
    if (!Number.isInteger(seed)) throw new OptionError('seed', seed, 'a whole number');
    if (!Array.isArray(rules)) throw new OptionError('rules', rules, 'an array of rules');
    this.seed = seed;
    this.#clock = clock;
    this.#logger = logger;
    this.#onState = onState;
    this.#ratios = checkRatios(ratios);
    this.delayMs = checkMs('delayMs', delayMs);
    this.#maxFaults = checkMs('maxFaults', maxFaults, { infinity: true });
    this.#events = new Emitter((error) => logger.error({ error }, 'a listener of a fault plan threw'));
    for (const rule of rules) this.add(rule);
    if (state !== undefined) this.#restore(state);
  }

  /** Adds a rule behind those that are there. @throws OptionError */
  add(rule: FaultRule): RuleHandle {
    const index = this.#tallies.length;
    const tally = new RuleTally(checkRule(`rules[${index}]`, rule));
    this.#tallies.push(tally);
    return {
      index,
      get injected() {
        return tally.injected;
      },
      enable: () => {
        tally.enabled = true;
      },
      disable: () => {
        tally.enabled = false;
      },
    };
  }

  get rules(): readonly FaultRule[] {
    return this.#tallies.map(({ current }) => current);
  }

  /** What befalls this request; undefined: nothing. Counts it, and the fault. */
  next(target: FaultSubject & { readonly method: string }): Injection | undefined {
    return this.#draw(target);
  }

  /** What befalls this start; undefined: nothing. */
  nextStart({ server, caller, wire }: Pick<FaultSubject, 'server' | 'caller' | 'wire'>): Injection | undefined {
    return this.#draw({ server, caller, wire });
  }

  /** From now on nothing goes wrong and nothing is counted, until `resume`. */
  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
  }

  /** How often each fault came. */
  get counts(): Readonly<Partial<Record<Fault, number>>> {
    return Object.fromEntries(this.#counts);
  }

  /** Faults so far. */
  get total(): number {
    return [...this.#counts.values()].reduce((sum, count) => sum + count, 0);
  }

  /** Calls back with each fault in the moment it is injected. */
  on(event: 'injected', listener: Listener<Injection>): Disposable {
    return this.#events.on(event, listener);
  }

  /**
   * Resolves once that fault has been injected `times` times in all (default 1), so at once when it has been already.
   * Rejects with the signal's reason, or after `timeoutMs` (default 30000) with an error that says what was injected.
   */
  async injected(
    fault: Fault,
    options: { readonly times?: number; readonly signal?: AbortSignal; readonly timeoutMs?: number } = {},
  ): Promise<void> {
    const { times = 1, signal, timeoutMs = INJECTED_TIMEOUT_MS } = options;
    checkOneOf('fault', fault, FAULT_NAMES);
    checkMs('timeoutMs', timeoutMs, { infinity: true });
    const enough = (): boolean => (this.#counts.get(fault) ?? 0) >= times;
    if (enough()) return;
    let watch: Disposable | undefined;
    const reached = new Promise<void>((resolve) => {
      watch = this.on('injected', () => {
        if (enough()) resolve();
      });
    });
    const late = (): Error => new Error(`'${fault}' was not injected ${times} time(s) within ${timeoutMs} ms; ${this}`);
    try {
      await within(reached, { clock: this.#clock, timeoutMs, late, signal });
    } finally {
      watch?.[Symbol.dispose]();
    }
  }

  /** Runs `work`; when it fails, its error says the seed and how to replay. For assertions. */
  async run<T>(work: () => T | Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof Error) error.message += `\n${this}`;
      throw error instanceof Error ? error : new Error(`${messageOf(error)}\n${this}`, { cause: error });
    }
  }

  /** How far it is: what a plan in another process goes on from. */
  get state(): PlanState {
    return {
      rules: this.#tallies.map((each) => each.state),
      draws: this.#draws,
      counts: this.counts,
    };
  }

  /** The options that make it anew. @throws OptionError when a rule has a function */
  toJSON(): FaultPlanOptions {
    for (const [index, { params }] of this.rules.entries()) {
      if (typeof params !== 'function') continue;
      throw new OptionError(`rules[${index}].params`, params, 'an object of fields, since JSON has no functions');
    }
    const ratios = Object.fromEntries(this.#ratios.filter(([, ratio]) => ratio > 0));
    return {
      seed: this.seed,
      ...(this.delayMs !== 10 && { delayMs: this.delayMs }),
      ...(this.#maxFaults !== Number.POSITIVE_INFINITY && { maxFaults: this.#maxFaults }),
      ...(Object.keys(ratios).length > 0 && { ratios }),
      rules: this.rules,
    };
  }

  toString(): string {
    const came = [...this.#counts].map(([fault, count]) => `${fault} ${count}`).join(', ');
    const calls = `${this.#draws[0]} acting calls, ${this.#draws[1]} starts`;
    return `FaultPlan seed ${this.seed} (${calls}; injected: ${came || 'nothing'}); replay: new FaultPlan(${this.#source()})`;
  }

  #source(): string {
    try {
      return JSON.stringify(this);
    } catch {
      return `{ seed: ${this.seed}, … } with the rules of the program, whose functions cannot be printed`;
    }
  }

  #draw(target: FaultSubject): Injection | undefined {
    if (this.#paused) return undefined;
    let hit: number | undefined;
    const nowMs = this.#clock.now();
    let changed = false;
    for (const [index, tally] of this.#tallies.entries()) {
      if (!tally.counts(target)) continue;
      changed = true;
      const share = randomOf(this.seed, index + 1, tally.matches);
      if (hit === undefined && tally.isDue(nowMs, share)) hit = index;
    }
    const start = target.method === undefined;
    let fault = hit === undefined ? undefined : this.#tallies[hit]?.rule.fault;
    if (start || ACTING_METHODS.has(target.method)) {
      changed = true;
      const turn = ++this.#draws[start ? 1 : 0];
      fault ??= this.#byRatio(target, randomOf(this.seed, start ? -1 : 0, turn));
    }
    const injection = fault !== undefined && this.total < this.#maxFaults ? this.#take(fault, hit, target) : undefined;
    if (changed && this.#onState !== undefined)
      tellListener(this.#onState, this.state, (error) =>
        this.#logger.error({ error }, 'the state of a fault plan cannot be kept'),
      );
    if (injection !== undefined) this.#events.emit('injected', injection);
    return injection;
  }

  #byRatio({ method, wire }: FaultSubject, share: number): Fault | undefined {
    let at = share;
    for (const [fault, ratio] of this.#ratios) {
      if ((FAULTS[fault].scope === 'start') !== (method === undefined)) continue;
      if (!canBeOn(FAULTS[fault], wire)) continue;
      if (method !== undefined && !isMeant(method, FAULTS[fault].methods)) continue;
      if (at < ratio) return fault;
      at -= ratio;
    }
    return undefined;
  }

  #take(fault: Fault, rule: number | undefined, { server, method, params, caller }: FaultSubject): Injection {
    const tally = rule === undefined ? undefined : this.#tallies[rule];
    if (tally !== undefined) tally.injected++;
    this.#counts.set(fault, (this.#counts.get(fault) ?? 0) + 1);
    const settings: FaultSettings = tally?.rule ?? {};
    let turn = this.total * 8;
    const random = (): number => randomOf(this.seed, 0x10000 + (rule ?? -1), ++turn);
    const { delayMs } = settings;
    const name = (params as { readonly name?: unknown } | null | undefined)?.name;
    return {
      fault,
      rule,
      settings,
      delayMs: delayMs === undefined ? undefined : drawLatency(delayMs, random),
      server,
      method,
      tool: typeof name === 'string' ? name : undefined,
      caller,
      call: stampOf(params),
    };
  }

  #restore({ rules, draws, counts }: PlanState): void {
    for (const [index, state] of rules.entries()) this.#tallies[index]?.restore(state);
    this.#draws = [...draws];
    for (const [fault, count] of Object.entries(counts)) this.#counts.set(fault as Fault, count ?? 0);
  }
}

function checkRatios(ratios: Partial<Readonly<Record<Fault, number>>>): (readonly [Fault, number])[] {
  for (const name of Object.keys(checkRecord('ratios', ratios))) checkOneOf('ratios', name, FAULT_NAMES);
  // In the table's order, so that a plan means the same however its JSON is sorted.
  const checked = FAULT_NAMES.map((fault) => [fault, checkRatio(`ratios.${fault}`, ratios[fault] ?? 0)] as const);
  for (const scope of ['call', 'start']) {
    const total = checked.reduce((sum, [fault, ratio]) => (FAULTS[fault].scope === scope ? sum + ratio : sum), 0);
    if (total > 1 + 1e-9) throw new OptionError('ratios', total, 'ratios that add up to 1 or less');
  }
  return checked.filter(([, ratio]) => ratio > 0);
}
