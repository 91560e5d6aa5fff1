import { HashRing, rendezvousScore } from './hashing.js';

export type BalancePolicy = 'least-loaded' | 'p2c-ewma' | 'round-robin' | 'failover' | 'hash';

/** What a policy knows of a target. */
export interface Candidate {
  readonly id: string;
  /** Hash of its id. */
  readonly hash: number;
  readonly weight: number;
  /** Its weight as its health allows it, set before a policy is asked; 0 for one that must not be taken. */
  share: number;
  inFlight: number;
  /** Of those the ones of which no answer is waited for. */
  held: number;
  /** Since when the others wait and none was answered, in ms. */
  quietSinceMs: number;
  /** Peak-EWMA of its latency, in ms; 0 while nothing is known of it. */
  ewmaMs: number;
  /** That is no answer's latency: it takes at least this long, or what the others take. */
  guessed: boolean;
  /** When that was last moved, in ms. */
  ewmaAtMs: number;
  /** Whose call it answered with an error, since its last result. */
  rejected: string | undefined;
  /** What smooth round robin owes it. */
  credit: number;
}

/**
 * Chooses one with a `share` above 0; undefined when there is none. `all` is in the order of the configuration, and the same
 * array until the targets change.
 */
export type Choose = (all: readonly Candidate[], keyHash: number, nowMs: number) => Candidate | undefined;

export interface PolicyRules {
  readonly random: () => number;
  /** After how long without calls a latency has lost 63 % of its say, in ms. */
  readonly ewmaDecayMs: number;
  readonly hashing: 'rendezvous' | 'consistent';
}

/** Before the first answer a target is taken for this slow as soon as a call is on its way. */
const UNKNOWN_MS = 1_000;

export function policy(name: BalancePolicy, rules: PolicyRules): Choose {
  switch (name) {
    case 'least-loaded':
      return leastLoaded(rules);
    case 'p2c-ewma':
      return twoChoices(rules);
    case 'round-robin':
      return roundRobin;
    case 'failover':
      return (all) => all.find(({ share }) => share > 0);
    case 'hash':
      return rules.hashing === 'rendezvous' ? rendezvous : consistent();
  }
}

/** The fewest calls in flight by weight; of equals one by chance, by weight. */
function leastLoaded({ random }: PolicyRules): Choose {
  return (all) => {
    let best: Candidate | undefined;
    let least = Number.POSITIVE_INFINITY;
    let seen = 0;
    for (const each of all) {
      if (each.share <= 0) continue;
      const load = (each.inFlight + 1) / each.share;
      if (load > least) continue;
      seen = load < least ? each.share : seen + each.share;
      if (load < least || random() * seen < each.share) best = each;
      least = load;
    }
    return best;
  };
}

/** Of two taken by chance, the one with the lower expected wait. (Finagle's p2c over peak EWMA.) */
function twoChoices({ random, ewmaDecayMs }: PolicyRules): Choose {
  const cost = (each: Candidate, nowMs: number): number => {
    const quietMs = each.inFlight > each.held ? nowMs - each.quietSinceMs : 0;
    if (each.ewmaMs === 0) return (each.inFlight * Math.max(UNKNOWN_MS, quietMs)) / each.share;
    const decayed = each.ewmaMs * Math.exp(-Math.max(0, nowMs - each.ewmaAtMs) / ewmaDecayMs);
    return (Math.max(decayed, quietMs) * (each.inFlight + 1)) / each.share;
  };
  return (all, _key, nowMs) => {
    let total = 0;
    for (const { share } of all) total += share;
    const one = draw(all, total * random(), undefined);
    if (one === undefined) return undefined;
    const two = draw(all, (total - one.share) * random(), one);
    return two === undefined || cost(one, nowMs) <= cost(two, nowMs) ? one : two;
  };
}

function draw(all: readonly Candidate[], at: number, without: Candidate | undefined): Candidate | undefined {
  let left = at;
  let last: Candidate | undefined;
  for (const each of all) {
    if (each === without || each.share <= 0) continue;
    last = each;
    left -= each.share;
    if (left < 0) return each;
  }
  // Rounding: the sum was a little less than its parts.
  return last;
}

/** Smooth weighted round robin, as nginx has it: 5, 1, 1 gives a a b a c a a, never five in a row. */
const roundRobin: Choose = (all) => {
  let best: Candidate | undefined;
  let total = 0;
  for (const each of all) {
    if (each.share <= 0) continue;
    each.credit += each.share;
    total += each.share;
    if (best === undefined || each.credit > best.credit) best = each;
  }
  if (best !== undefined) best.credit -= total;
  return best;
};

const rendezvous: Choose = (all, keyHash) => {
  let best: Candidate | undefined;
  let most = Number.NEGATIVE_INFINITY;
  for (const each of all) {
    // By its own weight: one that is slowly coming back must not hand keys to and fro.
    if (each.share <= 0) continue;
    const score = rendezvousScore(each.hash, keyHash, each.weight);
    if (score > most || best === undefined) {
      best = each;
      most = score;
    }
  }
  return best;
};

function consistent(): Choose {
  let of: readonly Candidate[] | undefined;
  let ring = new HashRing([]);
  return (all, keyHash) => {
    if (of !== all) ring = new HashRing(all);
    of = all;
    const index = ring.find(keyHash, (each) => (all[each]?.share ?? 0) > 0);
    return index < 0 ? undefined : all[index];
  };
}
