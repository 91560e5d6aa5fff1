import { lineOf } from './describe.js';
import type { HistoryEvent } from './HistoryEvent.js';
import { RULES, type Rule, type Violation } from './Violation.js';

/** What the history holds. */
export interface VerdictCounts {
  readonly events: number;
  readonly calls: number;
  readonly answers: number;
  readonly failures: number;
  readonly cancels: number;
  readonly effects: number;
  readonly faults: number;
}

const MAX_SHOWN = 3;
const MAX_OTHERS = 6;
const CONTEXT = 3;
const MAX_LINES = 14;
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
const CONTROL = /[\x00-\x1f\x7f-\x9f]/g;

/** What `check` found. `String(verdict)` fits on one screen: each violation, its rule, and the history around it. */
export class Verdict {
  readonly violations: readonly Violation[];
  readonly counts: VerdictCounts;
  readonly #events: readonly HistoryEvent[];
  readonly #label: string | undefined;

  constructor(events: readonly HistoryEvent[], violations: readonly Violation[], label?: string) {
    this.#events = events;
    this.violations = violations;
    this.#label = label;
    const count = (type: HistoryEvent['type']): number =>
      events.reduce((sum, each) => sum + Number(each.type === type), 0);
    this.counts = {
      events: events.length,
      calls: count('invoke'),
      answers: count('answer'),
      failures: count('failure'),
      cancels: count('cancel'),
      effects: events.filter((each) => each.type === 'effect' && each.phase === 'begin' && each.goesOn !== true).length,
      faults: count('fault'),
    };
  }

  /** Nothing was found. */
  get ok(): boolean {
    return this.violations.length === 0;
  }

  /** @throws Error whose message is the verdict, unless nothing was found. */
  assert(): void {
    if (!this.ok) throw new Error(this.toString());
  }

  toJSON(): object {
    return { ok: this.ok, counts: this.counts, violations: this.violations };
  }

  toString(): string {
    const { events, calls, answers, failures, cancels, effects, faults } = this.counts;
    const sum = `${calls} calls: ${answers} answers, ${failures} failures, ${cancels} cancelled; ${effects} effects, ${faults} faults; ${events} events`;
    const label = this.#label === undefined ? '' : ` (${this.#label})`;
    if (this.ok) return `not guilty${label}: ${sum}`;
    const rules = new Set(this.violations.map(({ rule }) => rule));
    const chosen = this.#chosen();
    const lines = [`GUILTY${label} of ${this.violations.length} violation(s) of ${[...rules].join(', ')}`, sum];
    for (const [index, violation] of chosen.entries()) {
      lines.push('', `${index + 1}. ${violation.rule}: ${violation.message}`, `   the rule: ${RULES[violation.rule]}`);
      for (const line of this.#around(violation)) lines.push(line);
    }
    const others = this.violations.filter((each) => !chosen.includes(each));
    if (others.length > 0) lines.push('');
    for (const { rule, message } of others.slice(0, MAX_OTHERS)) lines.push(`- ${rule}: ${message}`);
    if (others.length > MAX_OTHERS) lines.push(`- and ${others.length - MAX_OTHERS} more`);
    // Names may come from anywhere: a terminal is not to obey them.
    return lines.map((line) => line.replace(CONTROL, '?')).join('\n');
  }

  /** One of each rule first. */
  #chosen(): readonly Violation[] {
    const first = new Map<Rule, Violation>();
    for (const each of this.violations) if (!first.has(each.rule)) first.set(each.rule, each);
    return [...first.values()].slice(0, MAX_SHOWN);
  }

  /** The lines of the history that convict, marked, and what stands around them and is about the same. */
  #around({ call, events }: Violation): string[] {
    const guilty = new Set(events);
    const places = this.#events.flatMap((event, place) => (guilty.has(event) ? [place] : []));
    const [first = 0, last = 0] = [places[0], places.at(-1)];
    const near = new Set(places);
    for (let place = first; place <= last; place++) if (concerns(this.#events[place], call)) near.add(place);
    for (const place of [first, last]) {
      for (let step = 1; step <= CONTEXT; step++) near.add(place - step).add(place + step);
    }
    const shown = [...near].filter((place) => this.#events[place] !== undefined).sort((a, b) => a - b);
    const fromMs = this.#events[first]?.atMs ?? 0;
    const all = shown.map((place) => {
      const event = this.#events[place] as HistoryEvent;
      return `   ${guilty.has(event) ? '>' : ' '} ${lineOf(event, fromMs)}`;
    });
    if (all.length <= MAX_LINES) return all;
    // The marked lines stay; what stands between them goes first.
    const kept = all.filter(
      (line, index) => line.startsWith('   >') || index < CONTEXT || index >= all.length - CONTEXT,
    );
    const short = kept.slice(0, MAX_LINES - 1);
    return [...short, `     (${all.length - short.length} lines more)`];
  }
}

function concerns(event: HistoryEvent | undefined, call: string | undefined): boolean {
  if (event === undefined || call === undefined) return false;
  return ('call' in event && event.call === call) || ('of' in event && event.of === call);
}
