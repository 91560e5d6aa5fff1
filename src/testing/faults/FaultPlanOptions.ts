import type { Clock } from '../../core/clock.js';
import type { Logger } from '../../core/logger.js';
import type { Fault } from './faultTable.js';
import type { FaultRule } from './rule/FaultRule.js';
import type { PlanState } from './rule/RuleTally.js';
import type { FaultSettings } from './settings.js';

export interface FaultPlanOptions {
  /** The same seed gives the same faults in the same order of calls: a 32-bit whole number. @defaultValue 1 */
  readonly seed?: number;
  /** Rules; of those that are due the first wins. Each counts its own calls, also those that another befell. @defaultValue none */
  readonly rules?: readonly FaultRule[];
  /** The short form: the share of acting calls (of starts, for faults of a start) that each fault befalls, 0 to 1; together no more than 1. Rules come first. @defaultValue none */
  readonly ratios?: Partial<Readonly<Record<Fault, number>>>;
  /** How late a delayed call is, in ms. @defaultValue 10 */
  readonly delayMs?: number;
  /** Most faults, from 0 (none); then every call works. `Infinity`: no bound. @defaultValue Infinity */
  readonly maxFaults?: number;
}

/** What a plan uses, and no JSON can carry. */
export interface FaultPlanParts {
  /** Measures `forMs` and waits; a `FakeClock` in tests. @defaultValue the system's clock */
  readonly clock?: Clock;
  /** Told of listeners that throw, `onState` too. @defaultValue a logger that is silent */
  readonly logger?: Logger;
  /** Where a plan that lived before left off: see `state`. @defaultValue from the beginning */
  readonly state?: PlanState;
  /** Told each time that `state` has changed, before the fault happens. @defaultValue none */
  readonly onState?: (state: PlanState) => void;
}

/** A fault that befalls one call or start. */
export interface Injection {
  readonly fault: Fault;
  /** Which of `rules`; undefined: a ratio did it. */
  readonly rule: number | undefined;
  readonly settings: FaultSettings;
  /** The time drawn for it in ms, where its rule gives `delayMs`. */
  readonly delayMs: number | undefined;
  readonly server: string;
  readonly method: string | undefined;
  /** The tool's or prompt's name. */
  readonly tool: string | undefined;
  readonly caller: string | undefined;
  /** The call's stamp, when it has one. */
  readonly call: string | undefined;
}

/** A rule at work. */
export interface RuleHandle {
  /** Its place in `rules`. */
  readonly index: number;
  /** How often it has befallen something. */
  readonly injected: number;
  enable(): void;
  disable(): void;
}
