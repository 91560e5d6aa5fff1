/** How many steps begin in one turn of the event loop. */
const STEPS_A_TURN = 100;

/**
 * Cuts the beginning of steps into turns of the event loop. Steps that wait for nothing, and add others, would keep it
 * for themselves: neither the timers of the budget nor a second signal would be heard.
 */
export class Turns {
  #left = STEPS_A_TURN;
  #next: Promise<void> | undefined;

  /** True when the next turn is waited for: `take` gave its promise already. */
  get over(): boolean {
    return this.#left < 0;
  }

  /** Takes one beginning out of this turn. When there is none left: resolves in the next one. */
  take(): Promise<void> | undefined {
    this.#next ??= new Promise((resolve) => {
      setImmediate(() => {
        this.#left = STEPS_A_TURN;
        this.#next = undefined;
        resolve();
      });
    });
    return this.#left-- > 0 ? undefined : this.#next;
  }
}
