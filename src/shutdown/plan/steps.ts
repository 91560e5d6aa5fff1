import type { Closeable } from '../../core/close/CloseScope.js';
import { OptionError } from '../../core/errors.js';

/**
 * The phases, in their order. `unready`: readiness off. `refuse`: stop accepting. `streams`: end subscriptions and
 * event streams. `drain`: work in flight. `close`: pools. `background`: limiters, workers, reapers. `release`:
 * databases, files, logs.
 */
export const SHUTDOWN_PHASES = Object.freeze([
  'unready',
  'refuse',
  'streams',
  'drain',
  'close',
  'background',
  'release',
] as const);

export type ShutdownPhase = (typeof SHUTDOWN_PHASES)[number];

/** A phase, or the hooks before and after all of them. */
export type ShutdownStage = 'beforeStop' | ShutdownPhase | 'afterStop';

export const STAGES: readonly ShutdownStage[] = Object.freeze(['beforeStop', ...SHUTDOWN_PHASES, 'afterStop']);

/**
 * Sixteenths of the total that stay untouched for a stage while an earlier one runs. `close` has the most: ending a
 * child that ignores everything takes grace, stdin EOF, SIGTERM, SIGKILL and the proof of its death.
 */
const KEEPS: Readonly<Record<ShutdownStage, number>> = Object.freeze({
  beforeStop: 1,
  unready: 1,
  refuse: 1,
  streams: 1,
  drain: 1,
  close: 5,
  background: 1,
  release: 1,
  afterStop: 1,
});

/** What a step's function is told. */
export interface ShutdownContext {
  readonly reason: string;
  /** Milliseconds this step has. They get fewer when the shutdown is forced: then `signal` aborts. */
  readonly timeoutMs: number;
  /** Aborts with `ShutdownTimeoutError` when the step is given up. */
  readonly signal: AbortSignal;
}

/** What a step does: closes a part, or calls a function. */
export type ShutdownTarget = Closeable | ((context: ShutdownContext) => unknown);

/** @throws OptionError for what is neither. */
export function checkTarget(target: ShutdownTarget): ShutdownTarget {
  if (typeof target === 'function' || typeof target?.close === 'function') return target;
  throw new OptionError('step', target, 'a function, or a part with close()');
}

/** One step of a plan, as it stands in the table. */
export interface Step {
  readonly name: string;
  readonly target: ShutdownTarget;
  readonly stage: ShutdownStage;
  readonly timeoutMs: number;
  readonly graceMs: number | undefined;
  readonly after: readonly string[];
  readonly critical: boolean;
  state: 'waiting' | 'running' | 'settled';
}

/** A step in the table. */
interface Entry {
  readonly step: Step;
  /** How many were added before it. */
  readonly place: number;
  /** Steps of its own stage that it waits for. */
  waitsFor: number;
}

/** The steps of one stage that have not begun. */
class Waiting {
  readonly entries = new Set<Entry>();
  /** Those of them that wait for nothing. */
  readonly ready = new Set<Entry>();
  /** The longest chain of steps behind each, as far as it was asked for. Emptied when a chain may have changed. */
  readonly chains = new Map<Step, number>();
}

/**
 * The steps by name, and what may start when. Refuses circles, so a stage always comes to its end. The way from a name to
 * the steps that wait for it is kept: what an addition, a start or an end costs does not grow with the number of steps.
 */
export class StepTable {
  readonly #entries = new Map<string, Entry>();
  /** By name, whether there is such a step or not: the steps that name it in `after`. */
  readonly #followers = new Map<string, Set<Entry>>();
  readonly #stages = new Map(STAGES.map((stage) => [stage, new Waiting()]));
  #added = 0;

  /** @throws OptionError when the name is taken, or when `after` asks for what cannot be. */
  add(step: Step): void {
    if (this.#entries.has(step.name)) throw new OptionError('name', step.name, 'a name that no other step has');
    this.#assertOrder(step);
    const circle = this.#circleThrough(step);
    if (circle !== undefined) {
      throw new OptionError('after', step.after.join(', '), `no circle, but there is one: ${circle.join(' -> ')}`);
    }
    const entry: Entry = { step, place: this.#added++, waitsFor: 0 };
    this.#entries.set(step.name, entry);
    for (const name of new Set(step.after)) {
      const others = this.#followers.get(name) ?? new Set();
      this.#followers.set(name, others.add(entry));
      const other = this.#entries.get(name)?.step;
      if (other?.stage === step.stage && other.state !== 'settled') entry.waitsFor++;
    }
    const waiting = this.#waiting(step.stage);
    // A step that stands alone is in no chain: those that were found stay.
    if (step.after.length > 0 || this.#followers.has(step.name)) waiting.chains.clear();
    waiting.entries.add(entry);
    if (entry.waitsFor === 0) waiting.ready.add(entry);
    this.#release(step, 1);
  }

  /** Takes out a step that has not begun. */
  remove(step: Step): void {
    const entry = this.#entries.get(step.name);
    if (entry?.step !== step || step.state !== 'waiting') return;
    this.#entries.delete(step.name);
    this.#leave(entry).chains.clear();
    for (const name of step.after) {
      const others = this.#followers.get(name);
      others?.delete(entry);
      if (others?.size === 0) this.#followers.delete(name);
    }
    this.#release(step, -1);
  }

  /** A step has begun. */
  begin(step: Step): void {
    const entry = this.#entries.get(step.name);
    if (entry?.step !== step) return;
    this.#leave(entry);
    step.state = 'running';
  }

  /** A step that had begun is over. */
  settle(step: Step): void {
    step.state = 'settled';
    this.#release(step, -1);
  }

  /** Every step, in the order they were added. */
  list(): readonly { readonly name: string; readonly phase: ShutdownStage; readonly state: Step['state'] }[] {
    return [...this.#entries.values()].map(({ step: { name, stage, state } }) => ({ name, phase: stage, state }));
  }

  /** Names in `after` that no step has. */
  unknownNames(): readonly string[] {
    return [...this.#entries.values()].flatMap(({ step }) => step.after.filter((name) => !this.#entries.has(name)));
  }

  /** Steps of `stage` that wait for nothing any more, in the order they were added. */
  ready(stage: ShutdownStage): readonly Step[] {
    const entries = [...this.#waiting(stage).ready].sort((a, b) => a.place - b.place);
    return entries.map(({ step }) => step);
  }

  /** Sixteenths of the total kept back while `step` runs: for later stages with steps, and for what waits for it. */
  keptBack(step: Step): number {
    const later = STAGES.slice(STAGES.indexOf(step.stage) + 1).filter((stage) => this.#waiting(stage).entries.size > 0);
    return later.reduce((sum, stage) => sum + KEEPS[stage], 0) + this.#chainBehind(step);
  }

  /**
   * The longest chain of waiting steps behind `step` in its stage. They cannot begin before it ends, so what is found is
   * kept for all of them.
   */
  #chainBehind(step: Step): number {
    const { chains } = this.#waiting(step.stage);
    const next = ({ name }: Step): readonly Step[] =>
      [...(this.#followers.get(name) ?? [])]
        .map((entry) => entry.step)
        .filter(({ stage, state }) => stage === step.stage && state === 'waiting');
    // Each step is looked at twice: before what is behind it, and after.
    const path = [step];
    for (let at = path.pop(); at !== undefined; at = path.pop()) {
      if (chains.has(at)) continue;
      const behind = next(at);
      const open = behind.filter((each) => !chains.has(each));
      if (open.length > 0) {
        path.push(at);
        for (const each of open) path.push(each);
      } else {
        const longest = behind.reduce((most, each) => Math.max(most, (chains.get(each) ?? 0) + 1), 0);
        chains.set(at, longest);
      }
    }
    return chains.get(step) ?? 0;
  }

  #waiting(stage: ShutdownStage): Waiting {
    return this.#stages.get(stage) as Waiting;
  }

  #leave(entry: Entry): Waiting {
    const waiting = this.#waiting(entry.step.stage);
    waiting.entries.delete(entry);
    waiting.ready.delete(entry);
    return waiting;
  }

  /** Those that wait for `step` in its stage wait for one step more, or for one less. */
  #release({ name, stage }: Step, by: 1 | -1): void {
    const { entries, ready } = this.#waiting(stage);
    for (const follower of this.#followers.get(name) ?? []) {
      if (!entries.has(follower)) continue;
      follower.waitsFor += by;
      if (follower.waitsFor === 0) ready.add(follower);
      else ready.delete(follower);
    }
  }

  #assertOrder(step: Step): void {
    const place = STAGES.indexOf(step.stage);
    for (const name of step.after) {
      const other = this.#entries.get(name)?.step;
      if (other !== undefined && STAGES.indexOf(other.stage) > place) throw laterPhase(step, other);
    }
    for (const { step: other } of this.#followers.get(step.name) ?? []) {
      if (STAGES.indexOf(other.stage) < place) throw laterPhase(other, step);
    }
  }

  /** The way from a new step by `after` back to itself. There is none unless some step names it already, or it names itself. */
  #circleThrough({ name: goal, after }: Step): readonly string[] | undefined {
    if (!this.#followers.has(goal) && !after.includes(goal)) return undefined;
    const cameFrom = new Map<string, string>();
    const open = after.map((name) => ({ name, from: goal }));
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
      const { name, from } = next;
      if (name === goal) {
        const circle = [goal];
        for (let at = from; at !== goal; at = cameFrom.get(at) as string) circle.unshift(at);
        return [goal, ...circle];
      }
      if (cameFrom.has(name)) continue;
      cameFrom.set(name, from);
      for (const each of this.#entries.get(name)?.step.after ?? []) open.push({ name: each, from: name });
    }
    return undefined;
  }
}

function laterPhase(step: Step, other: Step): OptionError {
  return new OptionError(
    'after',
    other.name,
    `a step of phase ${step.stage} or earlier for ${step.name}; this one is in ${other.stage}`,
  );
}
