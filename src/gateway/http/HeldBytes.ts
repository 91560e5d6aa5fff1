import { Shares } from '../../concurrent/Shares.js';
import { type Clock, systemClock } from '../../core/clock.js';
import { limitedLogger } from '../../core/limitedLogger.js';
import { type Logger, silentLogger } from '../../core/logger.js';
import type { GatewayStats } from '../GatewayStats.js';
import { QuestionShares } from './QuestionShares.js';
import { CutResponses } from './stream/CutResponses.js';

/** What is kept for a client that may come back. */
export interface Kept {
  /** It is forgotten: others need the room. */
  giveWay(): void;
}

/** What is kept, between what was kept before it and after it. */
export interface KeptPlace {
  readonly kept: Kept;
  older: KeptPlace | undefined;
  newer: KeptPlace | undefined;
}

/** An owner that holds no more than so much of all may take all that is free: one large answer of a client that is alone. */
const LITTLE = 1 / 16;
/** Questions of servers to clients hold so much of all at most. */
const OF_QUESTIONS = 1 / 2;
/** Whose share questions are: it is servers that bring them about, and `QuestionShares` tells which. */
export const QUESTIONS = 'questions';

/**
 * Bytes that the gateway holds for its clients, over all sessions: bodies that are not complete, answers not yet taken. Each is some owner's
 * (`originOf`), and what one owner holds leaves a quarter of the room to others. What is kept for clients that may come back is none's: it
 * gives way.
 */
export class HeldBytes {
  /** Bodies on their way, and what refused clients still send of theirs. */
  readonly arriving = new Set<{ cut(): void }>();
  /** What was cut, since its client did not take it or there was no room. */
  readonly cuts: CutResponses;
  /** Whose questions wait for clients' answers. */
  readonly questions: QuestionShares;
  /** What is kept for clients that may come back: it gives way to those that are there, the oldest first. */
  #oldest: KeptPlace | undefined;
  #newest: KeptPlace | undefined;
  #kept = 0;
  #keptBytes = 0;
  readonly #max: number;
  #held = 0;
  /** What of it is held, by whose it is. */
  readonly #shares: Shares;

  constructor(maxBytes: number, logger: Logger = silentLogger, clock: Clock = systemClock) {
    this.#max = maxBytes;
    this.#shares = new Shares(maxBytes);
    this.questions = new QuestionShares(maxBytes * OF_QUESTIONS);
    this.cuts = new CutResponses(limitedLogger(logger, () => clock.now()));
  }

  get held(): number {
    return this.#held;
  }

  get stats(): Pick<GatewayStats, 'heldBytes' | 'cutResponses'> {
    return { heldBytes: this.#held, cutResponses: this.cuts.counts };
  }

  /**
   * Whether so many more fit into what that owner may hold; then they count as held until they are given back. `own`: what of its share
   * the same body or answer has already. `toKeep`: they are to be kept, and nothing that is kept gives way to them.
   */
  takeFor(owner: string, bytes: number, own = 0, toKeep = false): boolean {
    if (!this.#mayTake(owner, bytes, own)) return false;
    if (!this.#fits(bytes) && (toKeep || !this.#makesRoom(bytes))) return false;
    this.#held += bytes;
    this.#shares.add(owner, bytes);
    return true;
  }

  giveBackFor(owner: string, bytes: number): void {
    this.#shares.add(owner, -bytes);
    this.#held -= bytes;
  }

  /**
   * How what `takeFor` had no room for is refused: 429 where its owner holds much, and has its share; 503 where others left none. A load
   * balancer may leave alone who says 503, which is no matter of one user's.
   */
  refusalOf(owner: string, own = 0): 429 | 503 {
    return this.#holdsLittle(owner, own) ? 503 : 429;
  }

  /** Whether so many more would fit, with nothing that gives way. */
  hasRoomFor(owner: string, bytes: number): boolean {
    return this.#fits(bytes) && this.#mayTake(owner, bytes);
  }

  /**
   * Whether so much more of notices may wait: they may be lost, and leave a part of their owner's share to its requests and answers. Alone
   * one has half of all for them, and a quarter for those that are `kept` for clients that may come back.
   */
  hasRoomForNotice(owner: string, bytes: number, kept = false): boolean {
    const own = this.#shares.of(owner);
    const free = this.#max - this.#shares.taken - bytes;
    return own <= this.#max * LITTLE || (kept ? 3 : 1) * (own + bytes) <= free;
  }

  /** What one owner holds is another's from here on; false, and nothing changes, where that is more than its share. */
  handOver(owner: string, other: string, bytes: number): boolean {
    if (!this.#mayTake(other, bytes, 0, bytes)) return false;
    this.#shares.add(owner, -bytes);
    this.#shares.add(other, bytes);
    return true;
  }

  /** What that owner holds gives way from here on. */
  spare(owner: string, bytes: number): void {
    this.#shares.add(owner, -bytes);
    this.#keptBytes += bytes;
  }

  /** The reverse, where its share allows it. */
  reclaim(owner: string, bytes: number): boolean {
    if (!this.#mayTake(owner, bytes)) return false;
    this.#keptBytes -= bytes;
    this.#shares.add(owner, bytes);
    return true;
  }

  /** What gave way is held no longer. */
  dropSpare(bytes: number): void {
    this.#keptBytes -= bytes;
    this.#held -= bytes;
  }

  /** `more`: what is free beside what is. */
  #mayTake(owner: string, bytes: number, own = 0, more = 0): boolean {
    const shares = this.#shares;
    const free = shares.taken + this.#keptBytes - this.#held + more;
    return shares.mayTake(owner, bytes, free, this.#holdsLittle(owner, own));
  }

  #holdsLittle(owner: string, own: number): boolean {
    return this.#shares.of(owner) <= own + this.#max * LITTLE;
  }

  /** It is kept from now on, and gives way when others need the room; until it is forgotten. What it holds is `spare`d, see there. */
  keep(kept: Kept): KeptPlace {
    const place: KeptPlace = { kept, older: this.#newest, newer: undefined };
    if (this.#newest === undefined) this.#oldest = place;
    else this.#newest.newer = place;
    this.#newest = place;
    this.#kept++;
    return place;
  }

  forget(place: KeptPlace): void {
    const { older, newer } = place;
    if (older === undefined && place !== this.#oldest) return;
    if (older === undefined) this.#oldest = newer;
    else older.newer = newer;
    if (newer === undefined) this.#newest = older;
    else newer.older = older;
    // One that outlives it must not hold the others.
    place.older = undefined;
    place.newer = undefined;
    this.#kept--;
  }

  /** Things that are kept. */
  get kept(): number {
    return this.#kept;
  }

  /** Whether there is room for so many more of anyone's, once what is kept has given way. */
  hasRoom(bytes: number): boolean {
    return this.#fits(bytes - this.#keptBytes);
  }

  #fits(bytes: number): boolean {
    return this.#held + bytes <= this.#max;
  }

  /** Nothing gives way where that would not do. */
  #makesRoom(bytes: number): boolean {
    if (!this.hasRoom(bytes)) return false;
    for (let place = this.#oldest; place !== undefined; place = this.#oldest) {
      place.kept.giveWay();
      if (place === this.#oldest) this.forget(place);
      if (this.#fits(bytes)) return true;
    }
    return false;
  }

  /** Bodies that are not whole are waited for no longer: each is refused, or forgotten where it was refused already. */
  cutArriving(): void {
    for (const each of [...this.arriving]) each.cut();
  }
}
