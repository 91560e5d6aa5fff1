import { WheelEntry } from '../../core/time/TimeoutWheel.js';
import type { AbortEntry, AbortGroup } from '../../core/wait/Cancellation.js';

const unset = (): void => undefined;

/** How a waiter leaves out of turn. One for all waiters of a queue. */
export interface Exits<T> {
  readonly aborted: (waiter: LimitedWait<T>, reason: unknown) => void;
  readonly timedOut: (waiter: LimitedWait<T>, timeoutMs: number) => void;
}

/** One with a signal, a weight or a timeout of its own: it is its own place in the timeout wheel and in the abort hub. */
export class LimitedWait<T> extends WheelEntry implements AbortEntry {
  /** With none alive at a full collection the engine would forget the class's shape, and the code optimised for it. */
  static readonly kept: unknown = new LimitedWait(0, 0, 0, undefined, {} as Exits<unknown>);
  /** Changes when the ring is rebuilt. */
  place: number;
  readonly weight: number;
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
  resolve: (value: T) => void = unset;
  reject: (error: unknown) => void = unset;
  group: AbortGroup | undefined = undefined;
  readonly #exits: Exits<T>;

  constructor(place: number, weight: number, timeoutMs: number, signal: AbortSignal | undefined, exits: Exits<T>) {
    super();
    this.place = place;
    this.weight = weight;
    this.timeoutMs = timeoutMs;
    this.signal = signal;
    this.#exits = exits;
  }

  override onTimeout(): void {
    this.#exits.timedOut(this, this.timeoutMs);
  }

  onAbort(reason: unknown): void {
    this.#exits.aborted(this, reason);
  }
}
