import type { Clock, Timer } from '../clock.js';
import { inTurn, isTurnSpent, spendCaller } from './turns.js';

/** What can stand in a wheel. Extend it: the entry is the waiting thing itself, so that a timeout allocates nothing. */
export abstract class WheelEntry {
  /** @internal owned by the wheel */
  wheelNext: WheelEntry | undefined;
  /** @internal owned by the wheel */
  wheelPrevious: WheelEntry | undefined;
  /** @internal owned by the wheel: -1 while in none */
  wheelBucket = -1;
  /** @internal owned by the wheel */
  wheelTick = 0;

  /** Called once when its time is over; it has left the wheel by then, and may add, move or remove any entry. */
  abstract onTimeout(): void;
}

export interface TimeoutWheelOptions {
  /**
   * What waits for answers that this process itself reads: when the event loop stood still past the time of an entry, the entry has
   * as long again, no more than so many ms, and once. Node fires timers before it reads what came meanwhile, and a connection is read
   * in turns. 0: none.
   * @defaultValue 0
   */
  readonly maxGraceMs?: number;
}

const TICK_MS = 10;
const BUCKETS = 512;
/** A turn that is later than this was held up: on an idle loop one is 1 to 3 ms behind its tick. */
const HELD_UP_MS = 5;
const MIN_GRACE_MS = 2 * TICK_MS;

/**
 * Any number of timeouts under one timer. Adding and removing are O(1) in linked buckets; an entry fires in the first
 * tick (10 ms) at or after its time, never before, and those of one tick in the order they came, as many in a turn of the event loop
 * as its share allows (128): each has a caller that hears of it. An entry further off than a turn of the wheel (5.12 s) is looked at
 * once a turn. The timer is ref'd while the wheel holds an entry, since a caller awaits it. One that falls empty leaves
 * its timer armed but unref'd, so that a lone caller does not arm one per call; `close()` disarms it.
 * (G. Varghese, T. Lauck: Hashed and hierarchical timing wheels, scheme 6.)
 */
export class TimeoutWheel {
  readonly #clock: Clock;
  readonly #maxGraceMs: number;
  /** Entries that have their grace now: it is their last. */
  readonly #graced = new Set<WheelEntry>();
  readonly #originMs: number;
  readonly #buckets: (WheelEntry | undefined)[] = new Array(BUCKETS).fill(undefined);
  readonly #onTick = (): void => this.#turn();
  #size = 0;
  /** Every tick up to this one was served. */
  #served = -1;
  #timer: Timer | undefined;
  #timerTick = 0;
  /** Those whose time is over, and that no turn of the event loop had room for yet: they are in their buckets still. */
  #waiting: WheelEntry[] = [];
  /** While callbacks run nothing is armed: the turn arms once, at its end, for the first of what is then in. */
  #turning = false;

  constructor(clock: Clock, { maxGraceMs = 0 }: TimeoutWheelOptions = {}) {
    this.#clock = clock;
    this.#maxGraceMs = maxGraceMs;
    this.#originMs = clock.now();
  }

  get size(): number {
    return this.#size;
  }

  /**
   * Puts `entry` in for `delayMs` from now; one that is already in is moved. `Infinity` takes it out. Who adds many at
   * once reads the clock once and hands `clockMs` in.
   */
  add(entry: WheelEntry, delayMs: number, clockMs = this.#clock.now()): void {
    this.remove(entry);
    if (delayMs === Number.POSITIVE_INFINITY) return;
    const nowMs = clockMs - this.#originMs;
    if (this.#size === 0) this.#served = Math.max(this.#served, Math.floor(nowMs / TICK_MS) - 1);
    const tick = Math.max(Math.ceil((nowMs + delayMs) / TICK_MS), this.#served + 1);
    this.#put(entry, tick);
    if (this.#turning) return;
    if (this.#timer === undefined || tick < this.#timerTick) this.#arm(tick, nowMs);
    else if (this.#size === 1) this.#timer.ref();
  }

  /** Takes `entry` out; a no-op when it is not in. */
  remove(entry: WheelEntry): void {
    if (entry.wheelBucket < 0) return;
    const { wheelNext: next, wheelPrevious: previous } = entry;
    if (previous === undefined) this.#buckets[entry.wheelBucket] = next;
    else previous.wheelNext = next;
    if (next !== undefined) next.wheelPrevious = previous;
    entry.wheelNext = undefined;
    entry.wheelPrevious = undefined;
    entry.wheelBucket = -1;
    if (this.#graced.size > 0) this.#graced.delete(entry);
    this.#size--;
    if (this.#size === 0) this.#timer?.unref();
  }

  /** Disarms the wheel and takes every entry out uncalled: its owner has settled, or is settling, each. Idempotent. */
  close(): void {
    for (let bucket = 0; this.#size > 0 && bucket < BUCKETS; bucket++) {
      for (let entry = this.#buckets[bucket]; entry !== undefined; entry = this.#buckets[bucket]) this.remove(entry);
    }
    this.#waiting = [];
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #put(entry: WheelEntry, tick: number): void {
    const bucket = tick % BUCKETS;
    const head = this.#buckets[bucket];
    entry.wheelTick = tick;
    entry.wheelBucket = bucket;
    entry.wheelNext = head;
    if (head !== undefined) head.wheelPrevious = entry;
    this.#buckets[bucket] = entry;
    this.#size++;
  }

  /** Ticks that entries which are due get beyond: as many as the turn is late. */
  #graceTicks(nowMs: number): number {
    const lateMs = nowMs - this.#timerTick * TICK_MS;
    if (this.#maxGraceMs === 0 || lateMs <= HELD_UP_MS) return 0;
    return Math.ceil(Math.min(Math.max(lateMs, MIN_GRACE_MS), this.#maxGraceMs) / TICK_MS);
  }

  #turn(): void {
    this.#timer = undefined;
    const nowMs = this.#clock.now() - this.#originMs;
    const nowTick = Math.floor(nowMs / TICK_MS);
    const graceTicks = this.#graceTicks(nowMs);
    const due = this.#due(nowTick);
    this.#served = nowTick;
    const last = due.filter((entry) => graceTicks === 0 || this.#graced.has(entry));
    if (last.length < due.length) for (const entry of due) if (!this.#graced.has(entry)) this.#grace(entry, graceTicks);
    const goesOn = this.#waiting.length > 0;
    this.#waiting = goesOn ? [...this.#waiting, ...last] : last;
    if (goesOn) this.#armNext();
    else this.#fire();
  }

  #grace(entry: WheelEntry, ticks: number): void {
    this.remove(entry);
    this.#put(entry, this.#served + ticks);
    this.#graced.add(entry);
  }

  /** Calls those whose time is over, as far as the share of this turn of the event loop goes, one at least; the others stay until the next. */
  #fire(): void {
    const waiting = this.#waiting;
    const errors: unknown[] = [];
    this.#turning = true;
    let at = 0;
    for (let fired = 0; at < waiting.length && (fired === 0 || !isTurnSpent()); at++) {
      const entry = waiting[at] as WheelEntry;
      // One that an earlier callback removed or moved is no longer due.
      if (entry.wheelBucket < 0 || entry.wheelTick > this.#served) continue;
      this.remove(entry);
      fired++;
      try {
        entry.onTimeout();
      } catch (error) {
        errors.push(error);
      }
      spendCaller();
    }
    this.#turning = false;
    this.#waiting = waiting.slice(at);
    if (this.#waiting.length > 0) void inTurn(() => this.#fire());
    this.#armNext();
    // What a callback threw goes where a timer's own throw goes, to `uncaughtException`, once every callback of the turn has run.
    if (errors.length > 0) throw errors.length === 1 ? errors[0] : new AggregateError(errors);
  }

  /** What is due at `nowTick`, in the order of time, then of coming. */
  #due(nowTick: number): WheelEntry[] {
    // After a suspend many turns may have passed: each bucket need be looked at only once.
    const first = Math.max(this.#served + 1, nowTick - BUCKETS + 1);
    const due: WheelEntry[] = [];
    for (let tick = first; tick <= nowTick; tick++) {
      for (let entry = this.#buckets[tick % BUCKETS]; entry !== undefined; entry = entry.wheelNext) {
        if (entry.wheelTick <= nowTick) due.push(entry);
      }
    }
    // A bucket has its newest first.
    return due.reverse().sort((a, b) => a.wheelTick - b.wheelTick);
  }

  /** Arms for the next bucket that holds anything, never more than a turn ahead. */
  #armNext(): void {
    if (this.#size === 0) return;
    for (let tick = this.#served + 1; tick <= this.#served + BUCKETS; tick++) {
      if (this.#buckets[tick % BUCKETS] !== undefined) {
        this.#arm(tick, this.#clock.now() - this.#originMs);
        return;
      }
    }
  }

  #arm(tick: number, nowMs: number): void {
    this.#timer?.cancel();
    this.#timerTick = tick;
    // Node fires up to 1 ms early: aim past the tick's edge, else the turn would find nothing and arm again.
    this.#timer = this.#clock.setTimer(this.#onTick, Math.max(0, tick * TICK_MS - nowMs) + 1, { ref: true });
  }
}
