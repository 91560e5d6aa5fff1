import type { Fault } from '../faultTable.js';
import { concerns, type FaultRule, type FaultSubject, isTurn } from './FaultRule.js';

/** How far a plan is: plain data. */
export interface PlanState {
  readonly rules: readonly { readonly matches: number; readonly injected: number }[];
  readonly draws: readonly [calls: number, starts: number];
  readonly counts: Partial<Readonly<Record<Fault, number>>>;
}

/** One rule of a plan and what it has counted. */
export class RuleTally {
  readonly rule: FaultRule;
  enabled: boolean;
  /** Requests it was about. */
  matches = 0;
  injected = 0;
  #untilMs: number | undefined;

  constructor(rule: FaultRule) {
    this.rule = rule;
    this.enabled = rule.enabled ?? true;
  }

  /** The rule, with what it was switched to. */
  get current(): FaultRule {
    const { enabled: _, ...rule } = this.rule;
    return this.enabled ? rule : { ...rule, enabled: false };
  }

  get state(): PlanState['rules'][number] {
    return { matches: this.matches, injected: this.injected };
  }

  restore({ matches, injected }: PlanState['rules'][number]): void {
    this.matches = matches;
    this.injected = injected;
  }

  /** Counts the request, if the rule is about it and switched on. */
  counts(target: FaultSubject): boolean {
    if (!this.enabled || !concerns(this.rule, target)) return false;
    this.matches++;
    return true;
  }

  /** Whether it befalls the request that was just counted; `share` is that request's draw from 0 to 1. */
  isDue(nowMs: number, share: number): boolean {
    const { rule } = this;
    if (!isTurn(rule, this.matches) || this.injected >= (rule.times ?? Number.POSITIVE_INFINITY)) return false;
    this.#untilMs ??= nowMs + (rule.forMs ?? Number.POSITIVE_INFINITY);
    return nowMs < this.#untilMs && share < (rule.probability ?? 1);
  }
}
