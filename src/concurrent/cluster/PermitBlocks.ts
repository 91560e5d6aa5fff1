import type { Clock, Timer } from '../../core/clock.js';
import { RingQueue } from '../../core/wait/RingQueue.js';
import type { LimiterCore, PermitSource } from '../limiter/LimiterCore.js';
import { type QueueAhead, SlidingWindow } from '../limiter/SlidingWindow.js';
import { Demand } from './blocks/Demand.js';
import { LateLeases } from './blocks/LateLeases.js';
import type { Lease, LeaseStore } from './LeaseStore.js';

/** `leasing`: permits come from the store. Without it: our share of the limit, nothing, or everything. */
export type BlockMode = 'leasing' | 'share' | 'closed' | 'open';

export interface PermitBlocksOptions {
  readonly max: number;
  readonly windowUs: number;
  /** Permits not used for so long after they were asked for are given back. */
  readonly permitLifeUs: number;
  /** Most permits in one lease, unless one call needs more. */
  readonly maxBlock: number;
  readonly store: LeaseStore;
  /** When every lease for so long came too late, while callers waited, the store is as good as lost. */
  readonly storeTimeoutMs: number;
  readonly clock: Clock;
}

/** Leases on their way at a time: the second is asked for while the first travels, and none is hoarded. */
const MAX_ASKS = 3;

/** One lease: permits still to be used, and when the last one was. */
interface Block {
  readonly lease: Lease;
  readonly untilUs: number;
  readonly untilWallMs: number;
  left: number;
  usedUs: number;
}

/**
 * The fleet's permits in this process, in blocks. A lease is charged to the limit from before its permits can be used
 * until a window after the last one was, so what is charged at any time covers every grant of the window that ends then:
 * the fleet never grants more in any window than the store charges. Permits not used in `permitLifeUs` die; a block of
 * which none was used goes back at once. How many are asked for follows what was wanted lately.
 *
 * Every grant is also counted in a window of this process alone, which gives its share when the store is lost and keeps
 * one process within the limit whatever the store says.
 */
export class PermitBlocks implements PermitSource {
  readonly max: number;
  readonly #own: SlidingWindow;
  readonly #permitLifeUs: number;
  readonly #maxBlock: number;
  readonly #store: LeaseStore;
  readonly #late: LateLeases;
  readonly #clock: Clock;
  /** In a slice as long as a permit lives. */
  readonly #demand: Demand;
  readonly #usable = new RingQueue<Block>();
  /** No permit left, but used ones still count. In the order of their last use. */
  readonly #spent = new RingQueue<Block>();
  #core: LimiterCore | undefined;
  #mode: BlockMode = 'leasing';
  #permits = 0;
  /** Tells the leases of one stretch of leasing from those that a loss took. */
  #era = 0;
  /** Weights of the leases that were asked for and have not come. */
  readonly #asks: number[] = [];
  #askQueued = false;
  #ready = false;
  #shareUntilUs = Number.POSITIVE_INFINITY;
  #timer: Timer | undefined;
  #timerDueUs = 0;

  constructor({ max, windowUs, permitLifeUs, maxBlock, store, storeTimeoutMs, clock }: PermitBlocksOptions) {
    this.max = max;
    this.#own = new SlidingWindow(max, windowUs);
    this.#permitLifeUs = permitLifeUs;
    this.#maxBlock = maxBlock;
    this.#store = store;
    this.#late = new LateLeases(clock, storeTimeoutMs);
    this.#clock = clock;
    this.#demand = new Demand(permitLifeUs);
  }

  /** The core that hands the permits out. */
  attach(core: LimiterCore): void {
    this.#core = core;
  }

  /** What we may have of the limit as things stand: all of it, unless the store is or was lost. */
  get share(): number {
    return this.#own.limit;
  }

  /** Permits here, not used yet. */
  get permits(): number {
    return this.#permits;
  }

  /** Leases that are charged to us now. */
  get leases(): number {
    return this.#usable.size + this.#spent.size;
  }

  get emptyAtUs(): number {
    return this.#own.emptyAtUs;
  }

  take(nowUs: number, weight: number): boolean {
    if (this.#mode !== 'leasing') return this.#takeAlone(nowUs, weight);
    this.#retire(nowUs);
    if (nowUs >= this.#shareUntilUs) this.#endShare();
    if (this.#permits < weight || !this.#own.take(nowUs, weight)) {
      // Callers that wait already are counted when they are served.
      if (this.#core?.waiting.size === 0) this.#demand.add(nowUs, weight);
      this.#want();
      return false;
    }
    this.#demand.add(nowUs, weight);
    this.#use(nowUs, weight);
    // Half of what a slice needs is left: ask before they are gone, so that steady traffic does not wait.
    if (this.#permits < Math.min(this.#demand.perSlice, this.#maxBlock) >> 1) this.#want();
    return true;
  }

  fitsAtUs(floorUs: number, ahead: QueueAhead, weight: number): number {
    if (this.#mode === 'closed' || this.#mode === 'open') return floorUs;
    return this.#own.fitsAtUs(floorUs, ahead, weight);
  }

  count(nowUs: number): number {
    return this.#own.count(nowUs);
  }

  clear(): void {
    this.#own.clear();
  }

  /** From now on the store answers: permits are leased. For a window more, `share` (if any) stays our own upper bound. */
  resume(nowUs: number, share: number | undefined): void {
    this.#mode = 'leasing';
    this.#ready = true;
    this.#own.limit = share ?? this.max;
    this.#shareUntilUs = share === undefined ? Number.POSITIVE_INFINITY : nowUs + this.#own.windowUs;
    if (this.#core !== undefined && this.#core.waiting.size > 0) this.#want();
    this.#arm(nowUs);
  }

  /** The store is lost, and with it every lease: unused permits die, since the store counts them no longer. */
  suspend(mode: Exclude<BlockMode, 'leasing'>, share: number): void {
    this.#mode = mode;
    this.#own.limit = mode === 'share' ? share : this.max;
    this.#shareUntilUs = Number.POSITIVE_INFINITY;
    this.close();
  }

  /** Forgets every lease, without giving any back: used permits still count, the store lets them expire. */
  close(): void {
    this.#ready = false;
    this.#late.reset();
    this.#era++;
    this.#usable.clear();
    this.#spent.clear();
    this.#permits = 0;
    this.#asks.length = 0;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #takeAlone(nowUs: number, weight: number): boolean {
    if (this.#mode === 'closed') return false;
    return this.#own.take(nowUs, weight) || this.#mode === 'open';
  }

  #use(nowUs: number, weight: number): void {
    this.#permits -= weight;
    for (let owed = weight; owed > 0; ) {
      const block = this.#usable.peek();
      if (block === undefined) return;
      const taken = Math.min(owed, block.left);
      block.left -= taken;
      block.usedUs = nowUs;
      owed -= taken;
      if (block.left === 0) {
        this.#usable.shift();
        this.#spent.push(block);
        if (this.#spent.size === 1) this.#arm(nowUs);
      }
    }
  }

  /** Ends what has had its time: unused permits, and leases whose last use is a window ago. */
  #retire(nowUs: number): void {
    let head = this.#usable.peek();
    if (head !== undefined) {
      // The monotonic clock stands still while the machine sleeps, the wall clock does not.
      const wallMs = this.#clock.wallNow();
      for (; head !== undefined && (nowUs >= head.untilUs || wallMs >= head.untilWallMs); head = this.#usable.peek()) {
        this.#usable.shift();
        this.#permits -= head.left;
        if (head.usedUs === Number.NEGATIVE_INFINITY) head.lease.end();
        else this.#spent.push(head);
      }
    }
    for (let old = this.#spent.peek(); old !== undefined; old = this.#spent.peek()) {
      if (nowUs < old.usedUs + this.#own.windowUs) break;
      this.#spent.shift();
      old.lease.end();
    }
  }

  /** Asks at the end of the turn, so that one lease serves callers that came together. */
  #want(): void {
    if (this.#askQueued || !this.#ready || this.#asks.length === MAX_ASKS) return;
    this.#askQueued = true;
    queueMicrotask(() => {
      this.#askQueued = false;
      this.#ask();
    });
  }

  #ask(): void {
    const core = this.#core;
    if (core === undefined || !this.#ready) return;
    const [first = 0] = core.waiting.weights();
    // What a heavy waiter needs comes in one piece, and nothing else meanwhile: of several, the first would die before the
    // last is there, and each would keep the others from coming.
    const heavy = first > 1 && first > this.#permits;
    while (this.#asks.length < MAX_ASKS && !(heavy && this.#asks.some((each) => each >= first))) {
      const coming = this.#asks.reduce((sum, each) => sum + each, this.#permits);
      const wanted = Math.min(Math.max(core.waiting.weight, this.#demand.perSlice) - coming, this.#maxBlock);
      const weight = heavy ? Math.max(wanted, first) : wanted;
      if (weight <= 0) return;
      const era = this.#era;
      this.#asks.push(weight);
      this.#store.lease(weight, (lease) => {
        if (era === this.#era) this.#receive(core, lease, weight);
      });
    }
  }

  #receive(core: LimiterCore, lease: Lease, weight: number): void {
    this.#asks.splice(this.#asks.indexOf(weight), 1);
    const nowUs = core.nowUs();
    // Counted from before it was charged, so that a lease that was long on its way, or waited for us, is not overdrawn.
    const lifeUs = this.#permitLifeUs - Math.ceil((this.#clock.now() - lease.sentMs) * 1_000);
    if (!(lifeUs > 0)) {
      lease.end();
      if (this.#tooLate(core, lease)) return;
    } else {
      this.#late.inTime();
      this.#usable.push({
        lease,
        untilUs: nowUs + lifeUs,
        untilWallMs: this.#clock.wallNow() + Math.ceil(lifeUs / 1_000),
        left: weight,
        usedUs: Number.NEGATIVE_INFINITY,
      });
      this.#permits += weight;
    }
    core.serve();
    if (core.waiting.size > 0) this.#want();
    this.#arm(nowUs);
  }

  #tooLate(core: LimiterCore, { sentMs }: Lease): boolean {
    if (core.waiting.size === 0) this.#late.reset();
    if (core.waiting.size === 0 || !this.#late.late()) return false;
    const tookMs = Math.round(this.#clock.now() - sentMs);
    this.#store.giveUp(this.#late.error(tookMs, this.#permitLifeUs / 1_000));
    return true;
  }

  #endShare(): void {
    this.#own.limit = this.max;
    this.#shareUntilUs = Number.POSITIVE_INFINITY;
  }

  /** One timer for what comes first: permits that die, a lease that ends, our own bound that is lifted. */
  #arm(nowUs: number): void {
    const usable = this.#usable.peek()?.untilUs ?? Number.POSITIVE_INFINITY;
    const spent = this.#spent.peek();
    const atUs = Math.min(usable, spent === undefined ? usable : spent.usedUs + this.#own.windowUs, this.#shareUntilUs);
    if (this.#timer !== undefined && this.#timerDueUs <= atUs) return;
    this.#timer?.cancel();
    this.#timer = undefined;
    if (atUs === Number.POSITIVE_INFINITY) return;
    this.#timerDueUs = atUs;
    this.#timer = this.#clock.setTimer(() => this.#onTimer(), Math.max(0, atUs - nowUs) / 1_000);
  }

  #onTimer(): void {
    this.#timer = undefined;
    const core = this.#core;
    if (core === undefined) return;
    const nowUs = core.nowUs();
    this.#retire(nowUs);
    if (nowUs >= this.#shareUntilUs) this.#endShare();
    core.serve();
    this.#arm(nowUs);
  }
}
