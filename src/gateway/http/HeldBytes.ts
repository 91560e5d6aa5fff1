import { type Clock, systemClock } from '../../core/clock.js';
import { limitedLogger } from '../../core/limitedLogger.js';
import { type Logger, silentLogger } from '../../core/logger.js';
import { IdTable } from '../../core/wait/IdTable.js';
import type { GatewayStats } from '../GatewayStats.js';
import { CutResponses } from './stream/CutResponses.js';

/** What is kept for a client that may come back. */
export interface Kept {
  readonly keptBytes: number;
  /** It is forgotten: others need the room. */
  giveWay(): void;
}

/** What is kept, by when that began. */
export interface KeptPlace {
  readonly id: number;
  readonly kept: Kept;
}

/** Bytes that the gateway holds for its clients, over all sessions: bodies that are not complete, answers not yet taken. */
export class HeldBytes {
  /** Bodies on their way, and what refused clients still send of theirs. */
  readonly arriving = new Set<{ cut(): void }>();
  /** What was cut, since its client did not take it or there was no room. */
  readonly cuts: CutResponses;
  /** What is kept for clients that may come back: it gives way to those that are there, the oldest first. */
  readonly #kept = new IdTable<KeptPlace>();
  #places = 0;
  readonly #max: number;
  #held = 0;

  constructor(maxBytes: number, logger: Logger = silentLogger, clock: Clock = systemClock) {
    this.#max = maxBytes;
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

  /** It is kept from now on, and gives way when others need the room; until it is forgotten. */
  keep(kept: Kept): KeptPlace {
    const place = { id: ++this.#places, kept };
    this.#kept.add(place);
    return place;
  }

  forget(place: KeptPlace): void {
    this.#kept.delete(place);
  }

  /** Things that are kept. */
  get kept(): number {
    return this.#kept.size;
  }

  /** Whether so many more would fit. */
  hasRoom(bytes: number): boolean {
    return this.#held + bytes <= this.#max;
  }

  /** Nothing gives way where that would not do. */
  #makesRoom(bytes: number): boolean {
    const all = this.#kept.values();
    const keptBytes = all.reduce((sum, { kept }) => sum + kept.keptBytes, 0);
    if (!this.hasRoom(bytes - keptBytes)) return false;
    for (const { kept } of all) {
      kept.giveWay();
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
