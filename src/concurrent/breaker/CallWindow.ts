/** Parts of a window: what is counted covers between 9/10 of it and all of it. */
const PARTS = 10;

/**
 * Calls of the last `windowMs`, counted in ten parts: how many there were, how many failed, how many were slow. Adding is
 * O(1), and the memory is the same for any traffic.
 */
export class CallWindow {
  readonly #partMs: number;
  readonly #calls = new Float64Array(PARTS);
  readonly #failures = new Float64Array(PARTS);
  readonly #slow = new Float64Array(PARTS);
  /** Number of the newest part, counted from the clock's zero. */
  #part = Number.NEGATIVE_INFINITY;
  #sumCalls = 0;
  #sumFailures = 0;
  #sumSlow = 0;

  constructor(windowMs: number) {
    this.#partMs = windowMs / PARTS;
  }

  get calls(): number {
    return this.#sumCalls;
  }

  get failures(): number {
    return this.#sumFailures;
  }

  get slow(): number {
    return this.#sumSlow;
  }

  add(nowMs: number, failed: boolean, slow: boolean): void {
    this.advance(nowMs);
    const index = this.#index(this.#part);
    this.#calls[index] = (this.#calls[index] as number) + 1;
    this.#sumCalls++;
    if (failed) {
      this.#failures[index] = (this.#failures[index] as number) + 1;
      this.#sumFailures++;
    }
    if (slow) {
      this.#slow[index] = (this.#slow[index] as number) + 1;
      this.#sumSlow++;
    }
  }

  /** Drops the parts that have left the window by `nowMs`; a clock that goes back drops nothing. */
  advance(nowMs: number): void {
    const part = Math.floor(nowMs / this.#partMs);
    if (part <= this.#part) return;
    if (part - this.#part >= PARTS) this.clear();
    else for (let old = this.#part + 1; old <= part; old++) this.#drop(this.#index(old));
    this.#part = part;
  }

  clear(): void {
    this.#calls.fill(0);
    this.#failures.fill(0);
    this.#slow.fill(0);
    this.#sumCalls = 0;
    this.#sumFailures = 0;
    this.#sumSlow = 0;
  }

  #index(part: number): number {
    return ((part % PARTS) + PARTS) % PARTS;
  }

  #drop(index: number): void {
    this.#sumCalls -= this.#calls[index] as number;
    this.#sumFailures -= this.#failures[index] as number;
    this.#sumSlow -= this.#slow[index] as number;
    this.#calls[index] = 0;
    this.#failures[index] = 0;
    this.#slow[index] = 0;
  }
}
