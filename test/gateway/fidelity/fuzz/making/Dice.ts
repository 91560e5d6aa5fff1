import fc from 'fast-check';

/** Choices out of fast-check's randomness: the same seed gives the same choices. */
export class Dice {
  readonly #g: fc.GeneratorValue;

  constructor(seed: number) {
    const [g] = fc.sample(fc.gen(), { seed, numRuns: 1 });
    if (g === undefined) throw new Error('no generator');
    this.#g = g;
  }

  /** An integer from 0 to below `count`. */
  below(count: number): number {
    return this.#g(fc.nat, count - 1);
  }

  /** Whether it happens, once in `often` times. */
  once(often: number): boolean {
    return this.below(often) === 0;
  }

  of<T>(...options: readonly T[]): T {
    return options[this.below(options.length)] as T;
  }

  /** One of the makers makes it. */
  made<T>(...makers: readonly (() => T)[]): T {
    return (makers[this.below(makers.length)] as () => T)();
  }

  bytes(most: number): Buffer {
    return Buffer.from(this.#g(fc.uint8Array, { maxLength: most, size: 'max' } as never));
  }

  text(most: number): string {
    return this.#g(fc.string, { unit: 'binary', maxLength: most, size: 'max' } as never);
  }
}
