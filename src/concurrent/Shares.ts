/** Whose share a call counts to: its subject's, its principal's, else that of where it asks from, else its session's; undefined: of no one in particular. */
export function shareOf(
  caller: {
    readonly subject?: string | undefined;
    readonly principal?: string | undefined;
    readonly origin?: string | undefined;
    readonly key?: string | undefined;
  } = {},
): string | undefined {
  return caller.subject || caller.principal || caller.origin || caller.key || undefined;
}

/** A group takes more while it holds less than so many times what is free. */
const SHARE = 3;

/**
 * Who holds how much of something that is bounded. None takes all of it: alone one gets three quarters, and what is left is kept for
 * others (a dynamic threshold, Choudhury and Hahne 1998; decision 267). With a bound below 4 nothing is kept.
 */
export class Shares {
  readonly max: number;
  readonly #held = new Map<string, number>();
  #taken = 0;

  constructor(max: number) {
    this.max = max;
  }

  /** What all of them hold. */
  get taken(): number {
    return this.#taken;
  }

  /** A group that holds less takes nothing of what others need for theirs: a quarter of the bound, and 3 at most. */
  get few(): number {
    return Math.min(SHARE, this.max / (SHARE + 1));
  }

  of(group: string): number {
    return this.#held.get(group) ?? 0;
  }

  /** Whether the group may take so much, `more` counted as free. `unbounded`: all that is free is for it, too. */
  mayTake(group: string, amount: number, more = 0, unbounded = false): boolean {
    const free = this.max - this.#taken + more;
    // The last unit that it takes was still free: alone a group takes the only one of a bound of 1.
    return amount <= free && (unbounded || this.of(group) + amount <= SHARE * (free - amount + 1));
  }

  /** How much more the group may take. */
  room(group: string): number {
    const free = this.max - this.#taken;
    return Math.min(free, (SHARE * (free + 1) - this.of(group)) / (SHARE + 1));
  }

  /** The group holds so much more, or less. */
  add(group: string, amount: number): void {
    this.#taken += amount;
    const held = this.of(group) + amount;
    if (held > 0) this.#held.set(group, held);
    else this.#held.delete(group);
  }

  /** Counts so much for the group until `work` has settled; one that holds nothing may take all that is free. @throws what `full` gives, where it may not */
  async during<T>(group: string, amount: number, full: () => Error, work: () => Promise<T>): Promise<T> {
    if (!this.mayTake(group, amount, 0, this.of(group) === 0)) throw full();
    this.add(group, amount);
    try {
      return await work();
    } finally {
      this.add(group, -amount);
    }
  }
}
