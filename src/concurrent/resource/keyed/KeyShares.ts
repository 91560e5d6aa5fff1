import type { CloseScope } from '../../../core/close/CloseScope.js';
import type { ResourcePool } from '../ResourcePool.js';

interface Victim<K, R> {
  readonly member: Member<K, R>;
  readonly resource: R;
}

/** One key. */
export interface Member<K, R> {
  readonly key: K;
  readonly pool: ResourcePool<R>;
  permits: number;
  evicting: number;
  owned: Disposable | undefined;
}

const MIN_RECHECK_MS = 10;
const MAX_RECHECK_MS = 250;

/** Shares the permits of one bound among keys: who may create, whose turn is next, and which resource makes room. */
export class KeyShares<K, R> {
  readonly members = new Map<K, Member<K, R>>();
  readonly #scope: CloseScope;
  readonly #maxResources: number;
  readonly #maxHoldMs: number;
  /** In the order of their turns. */
  readonly #starving = new Set<Member<K, R>>();
  /** The one whose turn it is now. */
  #turn: Member<K, R> | undefined;
  #permits = 0;
  #evicting = 0;
  #balancing = false;
  #recheck: Disposable | undefined;

  constructor(scope: CloseScope, maxResources: number, maxHoldMs: number) {
    this.#scope = scope;
    this.#maxResources = maxResources;
    this.#maxHoldMs = maxHoldMs;
  }

  get counts() {
    return { resources: this.#permits, starving: this.#starving.size, evicting: this.#evicting };
  }

  takePermit(member: Member<K, R>): boolean {
    const inTurn = this.#turn === member || this.#starving.size === 0;
    if (this.#turn === member) this.#turn = undefined;
    if (inTurn && this.#permits < this.#maxResources) {
      this.#permits++;
      member.permits++;
      return true;
    }
    if (!this.#starving.has(member)) {
      this.#starving.add(member);
      this.#balance();
    }
    return false;
  }

  permitBack(member: Member<K, R>): void {
    this.#permits--;
    member.permits--;
    this.#balance();
  }

  /** One of `member` has fallen idle. */
  idled(): void {
    if (this.#starving.size > 0) this.#balance();
  }

  /** One that was ended for another key is gone. */
  evicted(member: Member<K, R>): void {
    member.evicting--;
    this.#evicting--;
  }

  remove(member: Member<K, R>): void {
    this.members.delete(member.key);
    this.#starving.delete(member);
  }

  /** Gives free permits to the keys whose turn it is, and makes room for the others; a microtask from now. */
  #balance(): void {
    if (this.#balancing || this.#scope.closing) return;
    this.#balancing = true;
    queueMicrotask(() => {
      this.#balancing = false;
      if (this.#scope.closing) return;
      for (const member of this.#starving) {
        if (this.#permits >= this.#maxResources) break;
        this.#starving.delete(member);
        this.#turn = member;
        member.pool.life.grow();
        this.#turn = undefined;
      }
      this.#makeRoom();
    });
  }

  #makeRoom(): void {
    const unserved = [...this.#starving].filter(({ pool }) => pool.life.queue.size > 0).slice(this.#evicting);
    let left = false;
    // What is of no use to one is of none to those that have as much: thousands may be in need.
    let least = Number.POSITIVE_INFINITY;
    for (const member of unserved) {
      const victim = shareOf(member) >= least ? undefined : (this.#idleVictim(member) ?? this.#busyVictim(member));
      if (victim === undefined) {
        left = true;
        least = Math.min(least, shareOf(member));
      } else {
        victim.member.evicting++;
        this.#evicting++;
        victim.member.pool.retire(victim.resource, 'evicted');
      }
    }
    if (!left || this.#recheck !== undefined) return;
    // What is in use may be due by then.
    const everyMs = Math.min(Math.max(this.#maxHoldMs / 4, MIN_RECHECK_MS), MAX_RECHECK_MS);
    const timer = this.#scope.timer('balance', everyMs, () => {
      this.#recheck = undefined;
      this.#balance();
    });
    timer.ref();
    this.#recheck = timer;
  }

  /** Of all that idles in keys without waiting callers, what has idled longest. */
  #idleVictim(inNeed: Member<K, R>): Victim<K, R> | undefined {
    let found: Victim<K, R> | undefined;
    let leastMs = Number.POSITIVE_INFINITY;
    for (const member of this.members.values()) {
      if (member === inNeed || member.pool.life.queue.size > 0) continue;
      for (const { resource, state, load, idleSinceMs } of member.pool.life.all.values()) {
        if ((state !== 'live' && state !== 'parked') || load > 0) continue;
        const sinceMs = idleSinceMs < 0 ? Number.MAX_VALUE : idleSinceMs;
        if (sinceMs >= leastMs) continue;
        leastMs = sinceMs;
        found = { member, resource };
      }
    }
    return found;
  }

  /** Of the keys that have more than the one in need, most first: what has been the key's longest, if for long enough. */
  #busyVictim(inNeed: Member<K, R>): Victim<K, R> | undefined {
    const dueMs = this.#scope.clock.now() - this.#maxHoldMs;
    let found: Victim<K, R> | undefined;
    let most = shareOf(inNeed);
    // One look at each, and no list of them: thousands may be in need at once.
    for (const member of this.members.values()) {
      if (shareOf(member) <= most) continue;
      for (const { resource, state, createdMs } of member.pool.life.all.values()) {
        if (state !== 'live' || (createdMs > dueMs && member.pool.life.queue.size > 0)) continue;
        found = { member, resource };
        most = shareOf(member);
        break;
      }
    }
    return found;
  }
}

const shareOf = ({ permits, evicting }: Pick<Member<unknown, unknown>, 'permits' | 'evicting'>): number =>
  permits - evicting;
