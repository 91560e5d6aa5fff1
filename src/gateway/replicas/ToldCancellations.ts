import type { Clock, Timer } from '../../core/clock.js';
import { Turns } from '../../core/wait/Turns.js';
import type { Session } from '../session/Session.js';

/** The session's key, and the id of its call. */
export type CancelledCall = readonly [key: string, id: string];

/** Those of so many ms are told together. */
const TOGETHER_MS = 10;
/** Told in one message. */
const MAX_TOLD = 64;
/** That wait to be told; beyond it the oldest of who has most is dropped: a cancellation is only advice. */
const MAX_WAITING = 1_000;
/** The id of a call that is longer is looked for here alone. */
const MAX_ID_CHARS = 1_024;

/** Cancellations on their way to the other replicas. Clients may send any number of them: those of many take turns. */
export class ToldCancellations implements Disposable {
  readonly #clock: Clock;
  readonly #tell: (calls: readonly CancelledCall[]) => void;
  readonly #waiting = new Turns<string, CancelledCall>();
  #timer: Timer | undefined;

  constructor(clock: Clock, tell: (calls: readonly CancelledCall[]) => void) {
    this.#clock = clock;
    this.#tell = tell;
  }

  add({ key, origin, endpoint }: Session, id: string): void {
    if (id.length > MAX_ID_CHARS || !endpoint.moves) return;
    this.#waiting.add(origin, [key, id]);
    if (this.#waiting.size > MAX_WAITING) this.#waiting.takeOfMost();
    this.#timer ??= this.#later();
  }

  [Symbol.dispose](): void {
    this.#timer?.cancel();
  }

  #later(): Timer {
    return this.#clock.setTimer(() => {
      const calls: CancelledCall[] = [];
      while (calls.length < MAX_TOLD && this.#waiting.size > 0) calls.push(this.#waiting.take() as CancelledCall);
      this.#timer = this.#waiting.size > 0 ? this.#later() : undefined;
      this.#tell(calls);
    }, TOGETHER_MS);
  }
}
