import { hash32 } from './hashing.js';
import type { Candidate } from './policies.js';

export interface BalancerTarget<T> {
  /** Names it: unique among the targets. A target of an update with a known id keeps its load and its latencies. */
  readonly id: string;
  /** What a pick hands out. */
  readonly target: T;
  /** Its part of the calls in relation to the others, from 0 (none) to 1,000,000. @defaultValue 1 */
  readonly weight?: number | undefined;
  /** Where it is; those of the balancer's own zone are preferred. @defaultValue none */
  readonly zone?: string | undefined;
}

/** What a balancer knows of a target. */
export class Entry<T> implements Candidate {
  readonly id: string;
  readonly hash: number;
  target: T;
  weight: number;
  zone: string | undefined;
  share = 0;
  inFlight = 0;
  held = 0;
  quietSinceMs = 0;
  ewmaMs = 0;
  guessed = false;
  ewmaAtMs = 0;
  credit = 0;
  picked = 0;
  rejected: string | undefined;

  constructor({ id, target, weight = 1, zone }: BalancerTarget<T>) {
    this.id = id;
    this.hash = hash32(id);
    this.target = target;
    this.weight = weight;
    this.zone = zone;
  }
}

export type End = 'succeeded' | 'failed' | 'rejected' | 'outrun' | 'gaveUp' | 'abandoned' | 'withdrawn';
/** Returns for how long the call waited, in ms, where that counts as a failure of its target that was silent; else 0. */
export type EndOfPick<T> = (entry: Entry<T>, how: End, startedMs: number, caller: string | undefined) => number;

/** A call on its way to a target. End it once, by one of the seven; again is a no-op. */
export class BalancerPick<T> {
  readonly id: string;
  readonly target: T;
  readonly #entry: Entry<T>;
  readonly #end: EndOfPick<T>;
  readonly #startedMs: number;
  #over = false;
  #held = false;

  /** @internal */
  constructor(entry: Entry<T>, startedMs: number, end: EndOfPick<T>) {
    this.id = entry.id;
    this.target = entry.target;
    this.#entry = entry;
    this.#startedMs = startedMs;
    this.#end = end;
  }

  /** It was answered: its latency counts. `caller`: whose call it was. */
  succeeded(caller?: string): void {
    this.#finish('succeeded', caller);
  }

  /** It failed by the target's fault. `voter`: the caller that may have brought it about by itself, see `OutlierDetector.failed`. */
  failed(voter?: string): void {
    this.#finish('failed', voter);
  }

  /** It was answered with an error, which is no failure of the target and says nothing of how long a result takes. `caller`: whose call it was. */
  rejected(caller?: string): void {
    this.#finish('rejected', caller);
  }

  /** Another target answered first, and it was given up: it would have taken at least this long. */
  outrun(): void {
    this.#finish('outrun');
  }

  /**
   * Its caller gave it up: it would have taken at least this long. Returns how long it waited, in ms, if that is far longer than usual, and counts
   * as a failure then (`voter`: as of `failed`); else 0.
   */
  gaveUp(voter?: string): number {
    return this.#finish('gaveUp', voter);
  }

  /** What it was picked for goes on, as a subscription does: it is in flight, and no answer is waited for. */
  lasts(): void {
    if (this.#over || this.#held) return;
    this.#held = true;
    this.#entry.held++;
  }

  /** It ended without telling anything of the target. */
  abandoned(): void {
    this.#finish('abandoned');
  }

  /** Nothing was sent there after all: it does not count as picked. */
  withdrawn(): void {
    this.#finish('withdrawn');
  }

  #finish(how: End, caller?: string): number {
    if (this.#over) return 0;
    this.#over = true;
    if (this.#held) this.#entry.held--;
    return this.#end(this.#entry, how, this.#startedMs, caller);
  }
}
