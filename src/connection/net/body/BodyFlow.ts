import type { TurnBudget } from '../../../core/time/turns.js';
import type { Flow } from '../../channel/large/LargeReply.js';
import type { ChunkRun } from './ChunkRun.js';

/** The flows of one connection that are paused, and whether any may be. */
export interface Flows {
  /** Whether calls wait for the connection: then none is paused, since that would keep a slot from them. */
  wanted: (() => boolean) | undefined;
  readonly paused: Set<BodyFlow>;
}

/** Whether a response's body is read, or waits for a reader that has enough. */
export class BodyFlow implements Flow {
  /** Has the body read again. */
  goOn: () => void;
  readonly #flows: Flows;
  #resting = false;
  #over = false;

  constructor(flows: Flows, goOn: () => void) {
    this.#flows = flows;
    this.goOn = goOn;
  }

  /** Whether nothing more is to come before `goOn`. */
  get paused(): boolean {
    return this.#resting || this.#flows.paused.has(this);
  }

  /** A run of chunks was read since `startMs`: when that is the share of a turn of the event loop, it rests until the next. */
  spent(turns: TurnBudget, run: ChunkRun, startMs: number): void {
    turns.spend(run.bytes, run.messages, startMs);
    run.end();
    if (!turns.spent || this.#resting) return;
    this.#resting = true;
    turns.inNextTurn(() => {
      this.#resting = false;
      if (!this.#over && !this.paused) this.goOn();
    });
  }

  pause(): boolean {
    if (this.#flows.wanted?.() === true) return false;
    this.#flows.paused.add(this);
    return true;
  }

  resume(): void {
    if (this.#flows.paused.delete(this) && !this.#resting) this.goOn();
  }

  /** Its response is over. */
  end(): void {
    this.#over = true;
    this.#flows.paused.delete(this);
  }
}
