import { messageOf, ShutdownTimeoutError } from '../../core/errors.js';
import { visible } from '../../core/show.js';
import type { ShutdownOutcome } from './runBounded.js';
import type { ShutdownStage } from './steps.js';

/** One step as it went. */
export interface StepReport {
  readonly name: string;
  readonly phase: ShutdownStage;
  /** When it began, in ms after the shutdown did. */
  readonly startedMs: number;
  /** How long it took, or had. */
  readonly ms: number;
  readonly outcome: ShutdownOutcome;
  /** A step that is not critical may fail without failing the shutdown. */
  readonly critical: boolean;
  readonly error?: unknown;
}

export interface ShutdownFacts {
  readonly reason: string;
  readonly ms: number;
  readonly totalMs: number;
  readonly steps: readonly StepReport[];
  /** Errors that are no step's: what made the process shut down. */
  readonly causes: readonly unknown[];
  /** The exit code that a forced shutdown asked for. */
  readonly forcedCode: number | undefined;
}

/** What a shutdown did, and what held it up. */
export class ShutdownReport {
  readonly reason: string;
  /** From the first call of `shutdown` to its end. */
  readonly ms: number;
  /** The budget. */
  readonly totalMs: number;
  /** In the order they began. */
  readonly steps: readonly StepReport[];
  /** What had to be abandoned, by name: steps, and inside a step what its part named (`pool: server "a"`). */
  readonly stillRunning: readonly string[];
  readonly forced: boolean;
  /** Every error of a critical step and the cause of the shutdown, joined; undefined when there is none. */
  readonly error: AggregateError | undefined;
  /** 0 when nothing critical failed, else 1; when forced by a signal 128 + its number. */
  readonly exitCode: number;
  readonly #causes: readonly unknown[];

  constructor(facts: ShutdownFacts) {
    this.reason = facts.reason;
    this.ms = facts.ms;
    this.totalMs = facts.totalMs;
    this.steps = facts.steps;
    this.stillRunning = facts.steps.flatMap(blockersOf);
    this.#causes = facts.causes;
    this.forced = facts.forcedCode !== undefined;
    const failed = facts.steps.filter((step) => step.critical && step.outcome !== 'ok');
    const errors = [...facts.causes, ...failed.map((step) => step.error)];
    this.error =
      errors.length === 0
        ? undefined
        : new AggregateError(
            errors,
            `shutdown (${facts.reason}): ${errors.length} failure(s): ${errors.map(messageOf).join('; ')}`,
          );
    this.exitCode = facts.forcedCode ?? (errors.length === 0 ? 0 : 1);
  }

  /** True when nothing critical failed. */
  get ok(): boolean {
    return this.error === undefined;
  }

  /** @throws AggregateError the joined errors, when there are any. */
  throwIfFailed(): void {
    if (this.error !== undefined) throw this.error;
  }

  /** A line for the whole, one per cause and one per step, for people; no name or error in it can steer a terminal. */
  toString(): string {
    const width = this.steps.reduce((widest, { name }) => Math.max(widest, name.length), 0);
    const causes = this.#causes.map((cause) => `  cause: ${messageOf(cause)}`);
    const lines = this.steps.map((step) => {
      const why = step.error === undefined ? '' : `  ${messageOf(step.error)}`;
      const head = `  ${step.phase.padEnd(10)} ${step.name.padEnd(width)} ${step.outcome.padEnd(7)}`;
      return `${head} ${`${Math.round(step.ms)} ms`.padStart(9)}${why}`;
    });
    const blocked = this.stillRunning.length === 0 ? '' : `; still running: ${this.stillRunning.join(', ')}`;
    const how = `${this.forced ? ', forced' : ''}, exit code ${this.exitCode}${blocked}`;
    const whole = `shutdown (${this.reason}): ${Math.round(this.ms)} of ${this.totalMs} ms${how}`;
    return [whole, ...causes, ...lines].map((line) => visible(line.replaceAll('\n', '\\n'))).join('\n');
  }
}

function blockersOf(step: StepReport): readonly string[] {
  if (step.outcome === 'timeout') return [step.name];
  const inside = step.error instanceof AggregateError ? step.error.errors : [step.error];
  return inside.flatMap((error) => (error instanceof ShutdownTimeoutError ? [`${step.name}: ${error.what}`] : []));
}
