/** Bytes that the gateway holds for its clients, over all sessions: bodies that are not complete, answers not yet taken. */
export class HeldBytes {
  /** Bodies on their way, and what refused clients still send of theirs. */
  readonly arriving = new Set<{ cut(): void }>();
  readonly #max: number;
  #held = 0;

  constructor(maxBytes: number) {
    this.#max = maxBytes;
  }

  get held(): number {
    return this.#held;
  }

  /** Whether so many more still fit; then they count as held until they are given back. */
  take(bytes: number): boolean {
    if (this.#held + bytes > this.#max) return false;
    this.#held += bytes;
    return true;
  }

  /** Whether so many more would fit. */
  hasRoom(bytes: number): boolean {
    return this.#held + bytes <= this.#max;
  }

  giveBack(bytes: number): void {
    this.#held -= bytes;
  }

  /** Bodies that are not whole are waited for no longer: each is refused, or forgotten where it was refused already. */
  cutArriving(): void {
    for (const each of [...this.arriving]) each.cut();
  }
}
