/** What a server is remembered for beyond one call: shared by wires that are one to a client, as POSTs without a session are. */
export class WireMemory {
  /** Tools that are gone. */
  readonly vanished = new Set<string>();
  #held: (() => void)[] = [];

  /** Holds an answer back until another has gone out. */
  hold(release: () => void): void {
    this.#held.push(release);
  }

  drop(release: () => void): void {
    this.#held = this.#held.filter((each) => each !== release);
  }

  /** An answer has gone out: what was held back until then follows. */
  answered(): void {
    for (const release of this.#held.splice(0)) release();
  }
}
