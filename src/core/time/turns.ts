/** What one connection may read in one turn of the event loop, in bytes, in messages, and in time. */
export interface TurnBudgetOptions {
  readonly maxBytes?: number;
  readonly maxMessages?: number;
  readonly maxMs?: number;
}

/** Small messages take 1 to 30 µs each, by what is done with them: see bench/flood.bench.ts. */
export const TURN_DEFAULTS = Object.freeze({ maxBytes: 256 * 1024, maxMessages: 320, maxMs: 5 });

/** So many messages are read between two looks at the clock: one that is told to a thousand clients takes 5 ms. */
const SLICE_MESSAGES = 4;
/** What all connections of the process may read in one turn, in ms. The message that goes beyond it is read to its end. */
const ALL_MS = 8;

/** What waits for the next turn. */
interface Waiting {
  /** What it took of the last turn that it had a share in, in ms. */
  readonly costMs: number;
  renew(): void;
}

/** What took less of its last turn goes first, in up to half of a turn. */
const LIGHT_MS = 2.5;

/**
 * The share of all connections in a turn. What does not fit into it waits for the next one: half of that is for those that take little, the least
 * first, so that an answer does not wait for the floods of many others; the rest goes to all in the order in which they came.
 */
class Everyone {
  readonly #waiting = new Set<Waiting>();
  readonly #turn = (): void => {
    this.#immediate = undefined;
    this.#ms = 0;
    // What is added meanwhile is for the next turn.
    const all = [...this.#waiting];
    const served = new Set<Waiting>();
    const serve = (each: Waiting): void => {
      served.add(each);
      this.#waiting.delete(each);
      each.renew();
    };
    for (const each of all.length > 1 ? light(all) : []) {
      if (this.#ms >= ALL_MS / 2) break;
      serve(each);
    }
    for (const each of all) {
      if (this.spent) break;
      if (!served.has(each)) serve(each);
    }
    if (this.#waiting.size > 0) this.#schedule();
  };
  #ms = 0;
  #immediate: NodeJS.Immediate | undefined;

  get spent(): boolean {
    return this.#ms >= ALL_MS;
  }

  spend(ms: number): void {
    this.#ms += ms;
    if (this.#ms >= 1) this.#schedule();
  }

  inNextTurn(waiting: Waiting): void {
    this.#waiting.add(waiting);
    this.#schedule();
  }

  forget(waiting: Waiting): void {
    this.#waiting.delete(waiting);
    if (this.#waiting.size > 0 || this.#immediate === undefined) return;
    clearImmediate(this.#immediate);
    this.#immediate = undefined;
    this.#ms = 0;
  }

  #schedule(): void {
    this.#immediate ??= setImmediate(this.#turn);
  }
}

/** Those that take little, the least first. What one takes is read once: it is another as soon as that one has read. */
function light(all: readonly Waiting[]): Waiting[] {
  const costs = all.map((each) => ({ each, costMs: each.costMs })).filter(({ costMs }) => costMs < LIGHT_MS);
  return costs.sort((a, b) => a.costMs - b.costMs).map(({ each }) => each);
}

const everyone = new Everyone();

/**
 * Runs a long step in a turn of the event loop in which the share of all is not used up yet, and counts it: of those that many peers
 * cause at once, each has a turn of its own. Rejects with what `step` throws.
 */
export function inTurn<T>(step: () => T | PromiseLike<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const renew = (): void => {
      const startMs = performance.now();
      try {
        resolve(step());
      } catch (error) {
        reject(error);
      }
      everyone.spend(performance.now() - startMs);
    };
    everyone.inNextTurn({ costMs: TURN_DEFAULTS.maxMs, renew });
  });
}

/** Whether the share of this turn is used up. */
export const isTurnSpent = (): boolean => everyone.spent;

/** What a caller makes of the end of its wait takes 30 to 200 µs in a gateway, in promises behind it: as much is reckoned, for 128 in a turn. */
const CALLER_MS = ALL_MS / 128;

/** A caller hears in this turn that its wait is over: what it makes of it counts to the share of all. */
export const spendCaller = (): void => everyone.spend(CALLER_MS);

/** As `inTurn`, at once where the share of this turn is not used up yet. Throws, or rejects, with what `step` throws. */
export function inTurnOrNow<T>(step: () => T | Promise<T>): T | Promise<T> {
  if (everyone.spent) return inTurn(step);
  const startMs = performance.now();
  try {
    return step();
  } finally {
    everyone.spend(performance.now() - startMs);
  }
}

/** So long all of one `TurnEnd` may take in one turn, in ms. */
const END_MS = 5;

/**
 * What is done for many things at the end of a turn of the event loop, once for each: as many as fit into a share of it, the rest in the turns that
 * follow, in order. It counts to the share of all connections, and does not wait for it. `step` must not throw.
 */
export class TurnEnd<T> {
  readonly #step: (thing: T) => void;
  readonly #waiting = new Set<T>();
  #scheduled = false;

  constructor(step: (thing: T) => void) {
    this.#step = step;
  }

  add(thing: T): void {
    this.#waiting.add(thing);
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(this.#run);
  }

  delete(thing: T): void {
    this.#waiting.delete(thing);
  }

  readonly #run = (): void => {
    const startMs = performance.now();
    let ms = 0;
    for (const thing of this.#waiting) {
      this.#waiting.delete(thing);
      this.#step(thing);
      ms = performance.now() - startMs;
      if (ms >= END_MS) break;
    }
    everyone.spend(ms);
    this.#scheduled = this.#waiting.size > 0;
    if (this.#scheduled) setImmediate(this.#run);
  };
}

/**
 * Cuts the reading of one connection into turns, so that no peer's flood keeps the loop from the others. Once `spent`,
 * nothing more is read until the loop has been round. All connections together have a share too, in turns. A connection that reads a little in each turn pays nothing.
 */
export class TurnBudget {
  readonly #maxBytes: number;
  readonly #maxMessages: number;
  readonly #maxMs: number;
  readonly #turn: Waiting;
  #waiting: (() => void)[] = [];
  #bytes = 0;
  #messages = 0;
  #slice = SLICE_MESSAGES;
  #ms = 0;
  /** Of the turn before. */
  #beforeMs = 0;
  /** What waits is expected to take so long; undefined: as long as it took before. */
  #expectedMs: number | undefined;
  #scheduled = false;

  constructor({
    maxBytes = TURN_DEFAULTS.maxBytes,
    maxMessages = TURN_DEFAULTS.maxMessages,
    maxMs = TURN_DEFAULTS.maxMs,
  }: TurnBudgetOptions = {}) {
    this.#maxBytes = maxBytes;
    this.#maxMessages = maxMessages;
    this.#maxMs = maxMs;
    const cost = (): number => this.#expectedMs ?? Math.max(this.#ms, this.#beforeMs);
    this.#turn = {
      get costMs() {
        return cost();
      },
      renew: () => this.#renew(),
    };
  }

  /** Messages that may be read before `spend` is called again. */
  get messagesLeft(): number {
    return Math.min(this.#slice, Math.max(0, this.#maxMessages - this.#messages));
  }

  get spent(): boolean {
    const own = this.#bytes >= this.#maxBytes || this.#messages >= this.#maxMessages || this.#ms >= this.#maxMs;
    return own || everyone.spent;
  }

  /** One that was read held so many. From here on they are read one by one: how many the next holds is not known before. */
  charge(messages: number): void {
    this.#messages += messages;
    this.#slice = 1;
    this.#schedule();
  }

  /** `startMs`: when their reading began, by `performance.now()`. */
  spend(bytes: number, messages: number, startMs: number): void {
    const ms = performance.now() - startMs;
    this.#ms += ms;
    everyone.spend(ms);
    this.#bytes += bytes;
    this.#messages += messages;
    if (this.#messages >= this.#maxMessages / 4 || this.#bytes >= this.#maxBytes / 4 || this.#ms >= 1) this.#schedule();
  }

  /** Calls `read` in the next turn: sooner than others where it is expected to take less than they. It must not throw. */
  inNextTurn(read: () => void, expectedMs?: number): void {
    this.#expectedMs = expectedMs;
    this.#waiting.push(read);
    this.#schedule();
  }

  close(): void {
    everyone.forget(this.#turn);
    this.#scheduled = false;
    this.#waiting = [];
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    everyone.inNextTurn(this.#turn);
  }

  #renew(): void {
    this.#scheduled = false;
    this.#bytes = 0;
    this.#messages = 0;
    this.#beforeMs = this.#ms;
    this.#ms = 0;
    // One at least; those that it leaves no share for go first in the next.
    const waiting = this.#waiting.splice(0);
    let read = 0;
    do waiting[read++]?.();
    while (read < waiting.length && !this.spent);
    if (read >= waiting.length) return;
    this.#waiting = [...waiting.slice(read), ...this.#waiting];
    this.#schedule();
  }
}
