import { BackingOffError, keptError } from '../../../core/errors.js';
import type { PartitionSettings } from './PartitionSettings.js';
import { next, type PartitionEvent, type PartitionState, refusedForMs } from './partitionState.js';

/** A partition's state as it stands, with what is told when it refuses. */
export class PartitionHealth<P> {
  readonly #settings: PartitionSettings<P>;
  #state: PartitionState = { tag: 'idle', attempt: 0 };
  #changedMs = 0;
  #lastError: unknown;
  /** A connection died by itself: the next one takes its place. */
  #replaceNext = false;

  constructor(settings: PartitionSettings<P>) {
    this.#settings = settings;
  }

  get state(): PartitionState {
    return this.#state;
  }

  /** What failed last, a start or a connection. */
  get lastError(): unknown {
    return this.#lastError;
  }

  set lastError(error: unknown) {
    this.#lastError = keptError(error);
  }

  /** Nothing failed that the next call must know of. */
  get clean(): boolean {
    return this.#state.tag === 'idle' && this.#state.attempt === 0 && !this.#replaceNext;
  }

  /** A connection died by itself. */
  died(why: string): void {
    this.lastError = new Error(why);
    this.#replaceNext = true;
  }

  /** Whether the connection that is up now takes the place of one that died. */
  replaced(): boolean {
    const replaced = this.#replaceNext;
    this.#replaceNext = false;
    return replaced;
  }

  /** Moves on, and tells the table when it is in another state than before. */
  move(event: PartitionEvent, partition: P): void {
    const { clock, rules, host } = this.#settings;
    const previous = this.#state;
    this.#changedMs = clock.now();
    this.#state = next(previous, event, this.#changedMs, rules);
    if (this.#state.tag !== previous.tag) host.onState(partition, previous);
  }

  /** Milliseconds until it may start again; 0 when it may now. */
  pauseMs(nowMs: number): number {
    return refusedForMs(this.#state, nowMs);
  }

  /** Why it may not start now. */
  refusal(): BackingOffError | undefined {
    const ms = this.pauseMs(this.#settings.clock.now());
    return ms > 0 ? new BackingOffError(this.#settings.server, ms, this.#lastError) : undefined;
  }

  /** Whether it has rested so long that no pause could have outlasted it. */
  rested(nowMs: number, longestPauseMs: number): boolean {
    return this.pauseMs(nowMs) === 0 && nowMs - this.#changedMs >= longestPauseMs;
  }
}
