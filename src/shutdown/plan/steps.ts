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

/** The steps by name, and what may start when. Refuses circles, so a stage always comes to its end. */
export class StepTable {
  readonly #steps = new Map<string, Step>();

  /** @throws OptionError when the name is taken, or when `after` asks for what cannot be. */
  add(step: Step): void {
    if (this.#steps.has(step.name)) throw new OptionError('name', step.name, 'a name that no other step has');
    this.#assertOrder(step);
    this.#steps.set(step.name, step);
    const circle = this.#circleFrom(step.name, step.name, [step.name], new Set());
    if (circle === undefined) return;
    this.#steps.delete(step.name);
    throw new OptionError('after', step.after.join(', '), `no circle, but there is one: ${circle.join(' -> ')}`);
  }

  /** Takes out a step that has not begun. */
  remove(step: Step): void {
    if (step.state === 'waiting' && this.#steps.get(step.name) === step) this.#steps.delete(step.name);
  }

  /** Every step, in the order they were added. */
  list(): readonly { readonly name: string; readonly phase: ShutdownStage; readonly state: Step['state'] }[] {
    return [...this.#steps.values()].map(({ name, stage, state }) => ({ name, phase: stage, state }));
  }

  /** Names in `after` that no step has. */
  unknownNames(): readonly string[] {
    return [...this.#steps.values()].flatMap((step) => step.after.filter((name) => !this.#steps.has(name)));
  }

  /** Steps of `stage` that wait for nothing any more, in the order they were added. */
  ready(stage: ShutdownStage): readonly Step[] {
    return this.#waiting(stage).filter((step) => this.#sameStage(step).every((each) => each.state === 'settled'));
  }

  hasWaiting(stage: ShutdownStage): boolean {
    return this.#waiting(stage).length > 0;
  }

  /** Sixteenths of the total kept back while `step` runs: for later stages with steps, and for what waits for it. */
  keptBack(step: Step): number {
    const later = STAGES.slice(STAGES.indexOf(step.stage) + 1).filter((stage) => this.hasWaiting(stage));
    return later.reduce((sum, stage) => sum + KEEPS[stage], 0) + this.#followers(step);
  }

  /** The longest chain of waiting steps behind `step` in its stage. */
  #followers(step: Step): number {
    const waiting = this.#waiting(step.stage);
    const depths = new Map<string, number>();
    const depth = (name: string): number => {
      const known = depths.get(name);
      if (known !== undefined) return known;
      const behind = waiting.filter((each) => each.after.includes(name)).map((each) => depth(each.name) + 1);
      const deepest = Math.max(0, ...behind);
      depths.set(name, deepest);
      return deepest;
    };
    return depth(step.name);
  }

  #waiting(stage: ShutdownStage): readonly Step[] {
    return [...this.#steps.values()].filter((step) => step.stage === stage && step.state === 'waiting');
  }

  #sameStage(step: Step): readonly Step[] {
    return step.after.flatMap((name) => {
      const other = this.#steps.get(name);
      return other !== undefined && other.stage === step.stage ? [other] : [];
    });
  }

  #assertOrder(step: Step): void {
    const place = STAGES.indexOf(step.stage);
    for (const name of step.after) {
      const other = this.#steps.get(name);
      if (other !== undefined && STAGES.indexOf(other.stage) > place) throw laterPhase(step, other);
    }
    for (const other of this.#steps.values()) {
      if (other.after.includes(step.name) && STAGES.indexOf(other.stage) < place) throw laterPhase(other, step);
    }
  }

  #circleFrom(name: string, goal: string, path: readonly string[], seen: Set<string>): readonly string[] | undefined {
    for (const next of this.#steps.get(name)?.after ?? []) {
      if (next === goal) return [...path, goal];
      if (seen.has(next)) continue;
      seen.add(next);
      const circle = this.#circleFrom(next, goal, [...path, next], seen);
      if (circle !== undefined) return circle;
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
