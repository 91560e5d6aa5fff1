import type { Clock, Timer } from '../../core/clock.js';

/** Callers of a server wait. `full`: for what other calls have taken; else it may be for a start. */
export interface Crowding {
  readonly full: boolean;
}

/** A call that waits upstream for a client that is away. */
export interface Away {
  readonly server: string;
  readonly owner: string;
  /** Whether it has its slot upstream still: else only what is kept for its client is left. */
  readonly isRunning: boolean;
}

interface Group<A> {
  weight: number;
  /** The oldest first. */
  readonly calls: A[];
}

/** Between two looks at who waits, in ms. */
const LOOK_MS = 250;
/** Looks in a row at which callers wait, before calls of an owner that has more than a few give way, and before any do. */
const SOON = 4;
const LATE = 40;
/** So many calls of one owner wait for its answers without giving way soon. */
const FEW = 3;

/**
 * Calls that wait for their clients hold slots and connections that no one uses. While callers of the same server wait, they give way:
 * those of the owner that has most, the oldest first, a fourth of them at a time. A person who is asked has ten seconds at least.
 */
export class GivingWay<A extends Away> {
  readonly #clock: Clock;
  /** The oldest first. */
  readonly #away: ReadonlyMap<string, A>;
  readonly #crowding: (server: string) => Crowding | undefined;
  readonly #end: (away: A) => void;
  /** Looks in a row at which callers waited, by server. */
  #looks = new Map<string, number>();
  #timer: Timer | undefined;

  constructor(
    clock: Clock,
    away: ReadonlyMap<string, A>,
    crowding: (server: string) => Crowding | undefined,
    end: (away: A) => void,
  ) {
    this.#clock = clock;
    this.#away = away;
    this.#crowding = crowding;
    this.#end = end;
  }

  /** Looks now and then from here on, as long as there are such calls. */
  watch(): void {
    this.#timer ??= this.#clock.setTimer(() => {
      this.#timer = undefined;
      this.#look();
      if (this.#away.size > 0) this.watch();
      else this.#looks.clear();
    }, LOOK_MS);
  }

  /**
   * One more is to wait, and there is no room: of the owner whose calls weigh most together, if they weigh `least`, the oldest ends of those
   * on the server that asks it most. False: there is none.
   */
  makeRoom(weigh: (away: A) => number, least: number): boolean {
    const { weight, calls } = mostOf(this.#away.values(), ({ owner }) => owner, weigh);
    const [oldest] = mostOf(calls, ({ server }) => server, weigh).calls;
    if (oldest === undefined || weight < least) return false;
    this.#end(oldest);
    return true;
  }

  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #look(): void {
    const looks = new Map<string, number>();
    for (const server of new Set([...this.#away.values()].map((each) => each.server))) {
      const crowding = this.#crowding(server);
      if (crowding === undefined) continue;
      const looked = (this.#looks.get(server) ?? 0) + 1;
      looks.set(server, looked);
      const { calls: most } = mostOf(
        this.#away.values(),
        ({ owner }) => owner,
        (each) => (each.isRunning && each.server === server ? 1 : 0),
      );
      if (looked >= LATE || (crowding.full && looked >= SOON && most.length > FEW)) {
        for (const each of most.slice(0, Math.ceil(most.length / 4))) this.#end(each);
      }
    }
    this.#looks = looks;
  }
}

/** The calls of the group whose calls weigh most together, those that weigh nothing left out. */
function mostOf<A>(all: Iterable<A>, groupOf: (away: A) => string, weigh: (away: A) => number): Group<A> {
  const groups = new Map<string, Group<A>>();
  let most: Group<A> = { weight: 0, calls: [] };
  for (const each of all) {
    const weight = weigh(each);
    if (weight === 0) continue;
    const group = groupOf(each);
    const own = groups.get(group) ?? { weight: 0, calls: [] };
    groups.set(group, own);
    own.weight += weight;
    own.calls.push(each);
  }
  for (const own of groups.values()) if (own.weight > most.weight) most = own;
  return most;
}
