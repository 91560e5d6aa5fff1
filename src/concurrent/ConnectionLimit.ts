import { availableParallelism } from 'node:os';
import type { Clock, Timer } from '../core/clock.js';
import { OwnerSlots } from '../core/wait/OwnerSlots.js';
import { Shares } from './Shares.js';

/** A connection that may have to give way to another caller's. */
export interface Evictable {
  /** Whose it is: the group that its permit counts for. */
  readonly group: string;
  /** True while it may be ended for another caller: it has no call, no waiter and no listener. */
  readonly idle: boolean;
  /** Grows with each use: the smallest was used longest ago. */
  readonly lastUse: number;
  /** Clock ms since which it holds its permit. */
  readonly heldSinceMs: number;
  /** Takes no new calls and ends when its last one is back. */
  evict(): void;
}

export interface ConnectionLimitOptions {
  readonly max: number;
  readonly clock: Clock;
  /** How long a connection may be kept while others wait, in ms. */
  readonly maxHoldMs: number;
  /** The connections under this limit that may be asked to give way. */
  readonly candidates: () => Iterable<Evictable>;
  /** A wider limit, under which each permit stands too. */
  readonly parent?: ConnectionLimit;
  /** From so many permits of connections that are not up on, none gives way to others that are not. @defaultValue `Infinity` */
  readonly maxStarting?: number;
}

/** The right to one connection. */
export interface ConnectionPermit {
  /** Whom it counts for. */
  readonly group: string;
  /** It counts for another group from here on. */
  moveTo(group: string): void;
  /** Its connection is up: another start of who has it started may begin. Idempotent; its release says so too. */
  started(): void;
  /** Gives it back; idempotent. */
  release(): void;
}

type Waiter = (permit: ConnectionPermit) => void;

/** Starts of one starter under one limit at a time: they take computing. */
const MAX_STARTING = Math.max(4, availableParallelism());
/** A start counts for so long at most, in ms: those of a server that is slow for another reason hold up no others. */
const STARTING_MS = 1_000;

/** The first character of the groups that are told apart by where they ask from, and not by who they are. */
export const UNNAMED = '@';

/** Whether some of a limit is kept for others than that group. */
const isNamed = (group: string): boolean => group !== '' && !group.startsWith(UNNAMED);

/**
 * A limit on connections over all callers. Groups (principals) that wait are served in turn, one permit each, so that
 * one with a thousand sessions does not keep out the others; and none takes all, so that one whose calls hang does not
 * either. Callers of no group (`''`) are the program's own: they may take what is free, and so may the groups without a name.
 *
 * A waiter evicts the idle connection that was used longest ago; after `maxHoldMs` also the one held longest, which ends when
 * its calls are done. From a quarter of the limit on (and from 3) a group ends none but its own, and those of groups that hold more:
 * one that asks for ever new connections goes round in its own. Those of no group give way to each that has a name. While starts
 * hold most of the limit (`maxStarting`), what is up stays: those of servers that hang would take its place.
 *
 * A starter (a principal, an address) has a few connections being started at a time, with what is left of starts that failed or were
 * given up; its others wait for their turn before they ask for a permit.
 */
export class ConnectionLimit {
  readonly #options: ConnectionLimitOptions;
  /** In the order of their turns; each with its waiters, oldest first. None is empty. */
  readonly #groups = new Map<string, Set<Waiter>>();
  /** Permits of each group. */
  readonly #shares: Shares;
  readonly #starts: OwnerSlots;
  /** Callers that wait for a permit of this limit. */
  waiting = 0;
  /** Evicted and not gone yet: so many waiters need not evict another. */
  #leaving = 0;
  /** Permits of connections that are not up. */
  #starting = 0;
  #timer: Timer | undefined;

  constructor(options: ConnectionLimitOptions) {
    this.#options = options;
    this.#shares = new Shares(options.max);
    this.#starts = new OwnerSlots({ max: MAX_STARTING, holdMs: STARTING_MS, clock: options.clock });
  }

  get taken(): number {
    return this.#shares.taken;
  }

  /** Free ones that none of those who wait may take. */
  get kept(): number {
    return this.waiting > 0 ? this.#options.max - this.taken : 0;
  }

  /** A permit that is free for the group under every limit and that no caller waits for. `starter`: who has the connection started, if known. */
  tryTake(group: string, starter?: string): ConnectionPermit | undefined {
    // Those of other groups that wait may not take what is free, or they would have it.
    if (!this.mayTake(group) || this.#groups.has(group)) return undefined;
    const start = starter === undefined ? undefined : this.#starts.tryTake(starter);
    if (starter !== undefined && start === undefined) return undefined;
    const { parent } = this.#options;
    const wider = parent?.tryTake(group);
    if (parent === undefined || wider !== undefined) return joined(this.#permit(group), wider, start);
    start?.[Symbol.dispose]();
    return undefined;
  }

  /** Whether there is room, `more` free ones counted in, that is not kept for other groups. */
  mayTake(group: string, more = 0): boolean {
    return this.#shares.mayTake(group, 1, more, !isNamed(group));
  }

  /** Whether the end of one of the group's connections would be of use to those who wait. */
  wants(group: string): boolean {
    return this.waiting > 0 && this.#givesWay()(group);
  }

  /** A permit when it is the starter's turn, and then the group's. The wait is bounded by the signal. @throws the signal's reason */
  async take(group: string, signal: AbortSignal, starter?: string): Promise<ConnectionPermit> {
    const start = starter === undefined ? undefined : await this.#starts.take(starter, signal);
    let own: ConnectionPermit | undefined;
    try {
      own = await this.#take(group, signal);
      return joined(own, await this.#options.parent?.take(group, signal), start);
    } catch (error) {
      own?.release();
      start?.[Symbol.dispose]();
      throw error;
    }
  }

  /** Disarms the timer; those who wait are told through their signals. */
  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  async #take(group: string, signal: AbortSignal): Promise<ConnectionPermit> {
    signal.throwIfAborted();
    if (this.mayTake(group) && !this.#groups.has(group)) return this.#permit(group);
    return new Promise<ConnectionPermit>((resolve, reject) => {
      const waiter: Waiter = (permit) => {
        signal.removeEventListener('abort', onAbort);
        resolve(permit);
      };
      const onAbort = (): void => {
        this.#remove(group, waiter);
        reject(signal.reason);
      };
      signal.addEventListener('abort', onAbort, { once: true });
      const queue = this.#groups.get(group) ?? new Set();
      this.#groups.set(group, queue.add(waiter));
      this.waiting++;
      this.#evictForWaiters();
    });
  }

  #permit(group: string): ConnectionPermit {
    this.#shares.add(group, 1);
    this.#starting++;
    let [held, starting] = [true, true];
    const up = (): void => {
      if (starting) this.#starting--;
      starting = false;
      this.#evictForWaiters();
    };
    const permit: ConnectionPermit & { group: string } = {
      group,
      started: up,
      moveTo: (other: string) => {
        if (!held) return;
        this.#shares.add(permit.group, -1);
        permit.group = other;
        this.#shares.add(other, 1);
        this.#serve();
      },
      release: () => {
        if (!held) return;
        held = false;
        this.#shares.add(permit.group, -1);
        this.#leaving = Math.max(0, this.#leaving - 1);
        this.#serve();
        up();
      },
    };
    return permit;
  }

  #remove(group: string, waiter: Waiter): void {
    const queue = this.#groups.get(group);
    if (queue?.delete(waiter) !== true) return;
    if (queue.size === 0) this.#groups.delete(group);
    this.waiting--;
    if (this.waiting === 0) this.close();
  }

  /** The oldest waiter of the group whose turn it is; the group goes to the end of the turns while it has more. */
  #serve(): void {
    for (const [group, queue] of this.#groups) {
      const [waiter] = queue;
      if (waiter === undefined || this.taken >= this.#options.max) return;
      if (!this.mayTake(group)) continue;
      this.#remove(group, waiter);
      if (queue.size > 0) {
        this.#groups.delete(group);
        this.#groups.set(group, queue);
      }
      waiter(this.#permit(group));
    }
  }

  /** Whether the end of one of a group's connections is of use to one that waits and may ask for it. */
  #givesWay(): (group: string) => boolean {
    // Those that were asked to give way make room for starts, too.
    if (this.#starting + this.#leaving >= (this.#options.maxStarting ?? Number.POSITIVE_INFINITY)) return () => false;
    let least = Number.POSITIVE_INFINITY;
    let named = false;
    for (const group of this.#groups.keys()) {
      if (!this.mayTake(group, 1)) continue;
      least = Math.min(least, this.#shares.of(group));
      named ||= isNamed(group);
    }
    return (group) =>
      least < this.#shares.few || this.#groups.has(group) || this.#shares.of(group) > least || (named && group === '');
  }

  #evictForWaiters(): void {
    while (this.waiting > this.#leaving && this.#evictIdle()) this.#leaving++;
    if (this.waiting === 0) return;
    const { clock, maxHoldMs } = this.#options;
    this.#timer ??= clock.setTimer(() => this.#holdIsOver(), maxHoldMs, { ref: true });
  }

  #holdIsOver(): void {
    this.#timer = undefined;
    if (this.waiting === 0) return;
    // One that was evicted and is still here has calls that run: another may be done sooner.
    if (this.#evictIdle() || this.#evictOldest()) this.#leaving++;
    this.#evictForWaiters();
  }

  /** Ends the idle connection used longest ago; false when there is none. */
  #evictIdle(): boolean {
    return evictFirst(this.#useful(), (each) => (each.idle ? each.lastUse : undefined));
  }

  /** Ends the connection held longest, when its calls are done; false when there is none. */
  #evictOldest(): boolean {
    return evictFirst(this.#useful(), (each) => each.heldSinceMs);
  }

  /** Those whose end would be of use to one that waits. */
  *#useful(): Iterable<Evictable> {
    const givesWay = this.#givesWay();
    for (const each of this.#options.candidates()) if (givesWay(each.group)) yield each;
  }
}

/** `order`: undefined for one that must not go. */
function evictFirst(all: Iterable<Evictable>, order: (each: Evictable) => number | undefined): boolean {
  let first: Evictable | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (const each of all) {
    const place = order(each);
    if (place === undefined || place >= least) continue;
    first = each;
    least = place;
  }
  first?.evict();
  return first !== undefined;
}

function joined(own: ConnectionPermit, wider?: ConnectionPermit, start?: Disposable): ConnectionPermit {
  if (wider === undefined && start === undefined) return own;
  return {
    get group() {
      return own.group;
    },
    moveTo: (group) => {
      own.moveTo(group);
      wider?.moveTo(group);
    },
    started: () => {
      start?.[Symbol.dispose]();
      own.started();
      wider?.started();
    },
    release: () => {
      start?.[Symbol.dispose]();
      own.release();
      wider?.release();
    },
  };
}
