/** How much is wanted in a slice of time, as far as this slice and the one before tell. */
export class Demand {
  readonly #sliceUs: number;
  #now = 0;
  #before = 0;
  #endUs = 0;

  constructor(sliceUs: number) {
    this.#sliceUs = sliceUs;
  }

  /** The greater of the two slices. */
  get perSlice(): number {
    return Math.max(this.#now, this.#before);
  }

  add(nowUs: number, weight: number): void {
    if (nowUs >= this.#endUs) {
      this.#before = nowUs < this.#endUs + this.#sliceUs ? this.#now : 0;
      this.#now = 0;
      this.#endUs = nowUs + this.#sliceUs;
    }
    this.#now += weight;
  }
}
