import { LRUCache } from 'lru-cache';
import type { LimitedCall, Limiter, LimiterAcquireOptions } from './Limiter.js';
import { LimiterCore, type LimiterCoreOptions, type PermitSource } from './LimiterCore.js';
import { ServerLimiter, type ServerTable } from './ServerLimiter.js';

/** Servers paused at a time; beyond them a pause is everybody's, which is the safe side. */
const MAX_PAUSED = 10_000;

/** Grants everything: what stands behind it is a pause only. */
const UNLIMITED: PermitSource = Object.freeze({
  max: Number.MAX_SAFE_INTEGER,
  take: () => true,
  fitsAtUs: (floorUs: number) => floorUs,
  count: () => 0,
  emptyAtUs: Number.NEGATIVE_INFINITY,
  clear: () => undefined,
});

/**
 * One limiter for several servers, each with a pause of its own: a 429 of one must not hold up the calls to the others.
 * A paused server's callers wait at a gate that is made when it is paused and forgotten when the pause is over; while none is
 * paused this costs one comparison. At the gate, and then at the limiter, they are served first in, first out, owners in turns.
 */
export class ServerPauses implements ServerTable {
  readonly #core: LimiterCore;
  readonly #options: Omit<LimiterCoreOptions, 'source'>;
  readonly #gates = new Map<string, LimiterCore>();
  /** Views hold no state but their own waiters, so any may be forgotten. */
  readonly #views = new LRUCache<string, Limiter>({ max: 1_000 });

  constructor(core: LimiterCore, options: Omit<LimiterCoreOptions, 'source'>) {
    this.#core = core;
    this.#options = options;
  }

  /** Servers that are paused, or were and have not been asked for since. */
  get size(): number {
    return this.#gates.size;
  }

  for({ server }: LimitedCall): Limiter {
    let view = this.#views.get(server);
    if (view === undefined) {
      view = new ServerLimiter(this, server);
      this.#views.set(server, view);
    }
    return view;
  }

  tryAcquire(server: string, weight = 1): boolean {
    const gate = this.#gate(server);
    return (gate === undefined || gate.tryAcquire(1)) && this.#core.tryAcquire(weight);
  }

  acquire(server: string, options: LimiterAcquireOptions = {}): Promise<void> {
    const gate = this.#gate(server);
    return gate === undefined ? this.#core.acquire(options) : this.#acquire(gate, options);
  }

  pauseFor(server: string, ms: number): void {
    if (!this.#gates.has(server) && this.#gates.size >= MAX_PAUSED) {
      for (const name of this.#gates.keys()) this.#gate(name);
      if (this.#gates.size >= MAX_PAUSED) {
        this.#core.pauseFor(ms);
        return;
      }
    }
    let gate = this.#gates.get(server);
    if (gate === undefined) {
      gate = new LimiterCore({ ...this.#options, name: `${this.#options.name} ${server}`, source: UNLIMITED });
      this.#gates.set(server, gate);
    }
    gate.pauseFor(ms);
  }

  /** Ends every pause. */
  reset(): void {
    for (const gate of this.#gates.values()) gate.reset();
  }

  /** From now on no caller is served, and those waiting at a gate are refused. */
  refuse(): void {
    for (const gate of this.#gates.values()) gate.refuse();
    this.#gates.clear();
    this.#views.clear();
  }

  async #acquire(gate: LimiterCore, options: LimiterAcquireOptions): Promise<void> {
    const { clock } = this.#options;
    const { signal, owner, maxWaitMs, acquireTimeoutMs = maxWaitMs ?? this.#options.acquireTimeoutMs } = options;
    const startMs = clock.now();
    await gate.acquire({ signal, acquireTimeoutMs, owner });
    const leftMs = Math.max(0, acquireTimeoutMs - (clock.now() - startMs));
    return this.#core.acquire({ ...options, acquireTimeoutMs: leftMs });
  }

  /** The gate of a server that is paused or has callers waiting at it. */
  #gate(server: string): LimiterCore | undefined {
    if (this.#gates.size === 0) return undefined;
    const gate = this.#gates.get(server);
    if (gate === undefined || gate.waiting.size > 0 || this.#options.clock.now() < gate.idleFromMs) return gate;
    this.#gates.delete(server);
    return undefined;
  }
}
