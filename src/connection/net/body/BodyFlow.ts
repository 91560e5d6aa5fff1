import type { Flow } from '../../channel/large/LargeReply.js';

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

  constructor(flows: Flows, goOn: () => void) {
    this.#flows = flows;
    this.goOn = goOn;
  }

  get paused(): boolean {
    return this.#flows.paused.has(this);
  }

  pause(): boolean {
    if (this.#flows.wanted?.() === true) return false;
    this.#flows.paused.add(this);
    return true;
  }

  resume(): void {
    if (this.#flows.paused.delete(this)) this.goOn();
  }

  /** Its response is over. */
  end(): void {
    this.#flows.paused.delete(this);
  }
}
