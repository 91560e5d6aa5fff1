import { AdaptiveLimit, type AdaptiveLimitOptions } from '../../src/concurrent/index.js';
import type { Clock } from '../../src/core/clock.js';

/** A server that does `capacityAt(t)` calls at a time and queues the others, first in, first out. */
export interface SimulatedServer {
  readonly name: string;
  readonly capacityAt: (ms: number) => number;
  readonly serviceMsAt: (ms: number) => number;
  readonly durationMs: number;
  /** Stretches in which nothing changes: the limit must have settled at the start of each. */
  readonly stretches: readonly { readonly fromMs: number; readonly toMs: number }[];
}

export const SERVERS: readonly SimulatedServer[] = [
  {
    name: 'fixed capacity',
    capacityAt: () => 40,
    serviceMsAt: () => 50,
    durationMs: 60_000,
    stretches: [{ fromMs: 10_000, toMs: 60_000 }],
  },
  {
    name: 'capacity that halves',
    capacityAt: (ms) => (ms < 30_000 ? 40 : 20),
    serviceMsAt: () => 50,
    durationMs: 60_000,
    stretches: [
      { fromMs: 10_000, toMs: 30_000 },
      { fromMs: 35_000, toMs: 60_000 },
    ],
  },
  {
    name: 'slow start',
    // Cold it does few calls, each slowly; it is warm after 20 s.
    capacityAt: (ms) => Math.round(8 + 52 * Math.min(1, ms / 20_000)),
    serviceMsAt: (ms) => 150 - 100 * Math.min(1, ms / 20_000),
    durationMs: 60_000,
    stretches: [{ fromMs: 30_000, toMs: 60_000 }],
  },
];

/** Numbers from 0 to 1 by a seed. (mulberry32) */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

class SimulatedClock implements Clock {
  nowMs = 0;
  now(): number {
    return this.nowMs;
  }
  wallNow(): number {
    return this.nowMs;
  }
  setTimer(): never {
    throw new Error('an adaptive limit has no timer');
  }
}

export interface Point {
  readonly atMs: number;
  readonly limit: number;
}

export interface Run {
  readonly points: readonly Point[];
  /** Calls answered, and their latencies together, in each stretch. */
  readonly stretches: readonly { readonly calls: number; readonly sumMs: number; readonly meanLimit: number }[];
}

/** Runs a server under as many calls as the limit lets in, always. Service times vary by 30 % either way. */
export function simulate(server: SimulatedServer, options: AdaptiveLimitOptions, seed: number): Run {
  const clock = new SimulatedClock();
  const random = seeded(seed);
  const limit = new AdaptiveLimit({ ...options, clock });
  const running: { readonly endMs: number; readonly ticket: { readonly startedMs: number } }[] = [];
  const queue: { readonly startedMs: number }[] = [];
  const points: Point[] = [];
  const stretches = server.stretches.map(() => ({ calls: 0, sumMs: 0, limitMs: 0 }));
  const start = (ticket: { readonly startedMs: number }): void => {
    const endMs = clock.nowMs + server.serviceMsAt(clock.nowMs) * (0.7 + 0.6 * random());
    let at = running.length;
    while (at > 0 && (running[at - 1]?.endMs ?? 0) < endMs) at--;
    running.splice(at, 0, { endMs, ticket });
  };
  while (clock.nowMs < server.durationMs) {
    for (let ticket = limit.tryAcquire(); ticket !== undefined; ticket = limit.tryAcquire()) queue.push(ticket);
    while (queue.length > 0 && running.length < server.capacityAt(clock.nowMs))
      start(queue.shift() as { startedMs: number });
    const next = running.pop();
    if (next === undefined) throw new Error('nothing runs');
    const index = server.stretches.findIndex(({ fromMs, toMs }) => next.endMs >= fromMs && next.endMs < toMs);
    const stretch = stretches[index];
    if (stretch !== undefined) {
      stretch.calls++;
      stretch.sumMs += next.endMs - next.ticket.startedMs;
      stretch.limitMs += limit.limit * (next.endMs - Math.max(clock.nowMs, server.stretches[index]?.fromMs ?? 0));
    }
    clock.nowMs = next.endMs;
    limit.succeeded(next.ticket);
    if (points.at(-1)?.limit !== limit.limit) points.push({ atMs: clock.nowMs, limit: limit.limit });
  }
  return {
    points,
    stretches: stretches.map(({ calls, sumMs, limitMs }, index) => {
      const { fromMs, toMs } = server.stretches[index] as { fromMs: number; toMs: number };
      return { calls, sumMs, meanLimit: limitMs / (toMs - fromMs) };
    }),
  };
}

/**
 * The fixed limit with the most power, which is throughput by latency (L. Kleinrock), in each stretch of a server: of every fourth
 * one the best, then of those around it. Power rises to one peak and falls from there, so a search ends where it falls.
 */
export function bestFixed(server: SimulatedServer, seed: number): readonly number[] {
  const powers = new Map<number, readonly number[]>();
  const powerOf = (limit: number): readonly number[] => {
    const known = powers.get(limit);
    if (known !== undefined) return known;
    const fixed = { initialLimit: limit, minLimit: limit, maxLimit: limit };
    const found = simulate(server, fixed, seed).stretches.map(({ calls, sumMs }) => calls / (sumMs / calls));
    powers.set(limit, found);
    return found;
  };
  return server.stretches.map((_, index) => {
    const best = (from: number, to: number, step: number): number => {
      let top = from;
      const rises = (limit: number): boolean => (powerOf(limit)[index] ?? 0) > (powerOf(top)[index] ?? 0);
      for (let limit = from + step; limit <= to && rises(limit); limit += step) top = limit;
      return top;
    };
    const rough = best(LEAST, MOST, STEP);
    return best(Math.max(LEAST, rough - STEP + 1), Math.min(MOST, rough + STEP - 1), 1);
  });
}

const LEAST = 4;
const MOST = 120;
const STEP = 4;
