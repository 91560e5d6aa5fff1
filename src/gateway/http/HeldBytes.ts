import { Shares } from '../../concurrent/Shares.js';
import { type Clock, systemClock } from '../../core/clock.js';
import { limitedLogger } from '../../core/limitedLogger.js';
import { type Logger, silentLogger } from '../../core/logger.js';
import type { GatewayStats } from '../GatewayStats.js';
import { CutResponses } from './stream/CutResponses.js';

/** What is kept for a client that may come back. */
export interface Kept {
  readonly keptBytes: number;
  /** It is forgotten: others need the room. */
  giveWay(): void;
}

/** What is kept, between what was kept before it and after it. */
export interface KeptPlace {
  readonly kept: Kept;
  /** As it was when that began. */
  readonly bytes: number;
  older: KeptPlace | undefined;
  newer: KeptPlace | undefined;
}

/** Bytes that the gateway holds for its clients, over all sessions: bodies that are not complete, answers not yet taken. */
export class HeldBytes {
  /** Bodies on their way, and what refused clients still send of theirs. */
  readonly arriving = new Set<{ cut(): void }>();
  /** What was cut, since its client did not take it or there was no room. */
  readonly cuts: CutResponses;
  /** What is kept for clients that may come back: it gives way to those that are there, the oldest first. */
  #oldest: KeptPlace | undefined;
  #newest: KeptPlace | undefined;
  #kept = 0;
  #keptBytes = 0;
  readonly #max: number;
  #held = 0;
  /** What of it bodies and calls hold, by whose they are. */
  readonly #shares: Shares;

  constructor(maxBytes: number, logger: Logger = silentLogger, clock: Clock = systemClock) {
    this.#max = maxBytes;
    this.#shares = new Shares(maxBytes);
    this.cuts = new CutResponses(limitedLogger(logger, () => clock.now()));
  }

  get held(): number {
    return this.#held;
  }

  get stats(): Pick<GatewayStats, 'heldBytes' | 'cutResponses'> {
    return { heldBytes: this.#held, cutResponses: this.cuts.counts };
  }

  /** Whether so many more still fit; then they count as held until they are given back. `toKeep`: they are to be kept themselves. */
  take(bytes: number, toKeep = false): boolean {
    if (!this.hasRoom(bytes) && (toKeep || !this.#makesRoom(bytes))) return false;
    this.#held += bytes;
    return true;
  }

  /**
   * The same for a body, or a call, which may last for as long as its client likes: what one owner holds leaves a quarter of the room to
   * others. `own`: what the same body holds already; what is all that its owner has may take all that is free.
   */
  takeFor(owner: string, bytes: number, own = 0): boolean {
    const shares = this.#shares;
    const more = shares.taken + this.#keptBytes - this.#held;
    if (!shares.mayTake(owner, bytes, { more, unbounded: shares.of(owner) <= own }) || !this.take(bytes)) return false;
    shares.add(owner, bytes);
    return true;
  }

  giveBackFor(owner: string, bytes: number): void {
    this.#shares.add(owner, -bytes);
    this.giveBack(bytes);
  }

  /** It is kept from now on, and gives way when others need the room; until it is forgotten. */
  keep(kept: Kept): KeptPlace {
    const place: KeptPlace = { kept, bytes: kept.keptBytes, older: this.#newest, newer: undefined };
    if (this.#newest === undefined) this.#oldest = place;
    else this.#newest.newer = place;
    this.#newest = place;
    this.#kept++;
    this.#keptBytes += place.bytes;
    return place;
  }

  forget(place: KeptPlace): void {
    const { older, newer, bytes } = place;
    if (older === undefined && place !== this.#oldest) return;
    if (older === undefined) this.#oldest = newer;
    else older.newer = newer;
    if (newer === undefined) this.#newest = older;
    else newer.older = older;
    // One that outlives it must not hold the others.
    place.older = undefined;
    place.newer = undefined;
    this.#kept--;
    this.#keptBytes -= bytes;
  }

  /** Things that are kept. */
  get kept(): number {
    return this.#kept;
  }

  /** Whether so many more would fit. */
  hasRoom(bytes: number): boolean {
    return this.#held + bytes <= this.#max;
  }

  /** Nothing gives way where that would not do. */
  #makesRoom(bytes: number): boolean {
    if (!this.hasRoom(bytes - this.#keptBytes)) return false;
    for (let place = this.#oldest; place !== undefined; place = this.#oldest) {
      place.kept.giveWay();
      if (place === this.#oldest) this.forget(place);
      if (this.hasRoom(bytes)) return true;
    }
    return false;
  }

  giveBack(bytes: number): void {
    this.#held -= bytes;
  }

  /** Bodies that are not whole are waited for no longer: each is refused, or forgotten where it was refused already. */
  cutArriving(): void {
    for (const each of [...this.arriving]) each.cut();
  }
}
