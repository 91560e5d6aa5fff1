import type { Clock } from '../../../core/clock.js';
import { PoolkitError } from '../../../core/errors.js';
import type { ServerNotice } from '../../../pool/McpPool.js';
import type { Downstream } from '../../endpoint/Endpoint.js';

/** Tells a call's client what its server said. */
export type Tell = (notice: ServerNotice) => void;

/** How long a server may still speak about a call that was given up without its answer, in ms. */
const LINGER_MS = 30_000;

/**
 * Which sessions have calls in flight to each server. A call that was cancelled or timed out may still run there, and what
 * its server says about it must not be taken for another session's: it counts for a while longer.
 */
export class CallsInFlight {
  readonly #clock: Clock;
  readonly #calls = new Map<string, Map<Downstream, number>>();
  /** Until when each session's calls that were given up count, by server. */
  readonly #lingering = new Map<string, Map<Downstream, number>>();

  /** What each call is told by of what came on no call's stream. */
  readonly #told = new Map<string, Set<{ readonly tell: Tell | undefined }>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Counts the call until it settles. */
  async during<T>(server: string, session: Downstream, call: () => Promise<T>, tell?: Tell): Promise<T> {
    const counts = mapIn(this.#calls, server);
    const told = { tell };
    const all = this.#told.get(server) ?? new Set();
    this.#told.set(server, all.add(told));
    counts.set(session, (counts.get(session) ?? 0) + 1);
    try {
      return await call();
    } catch (error) {
      if (mayRun(error)) this.#linger(server, session);
      throw error;
    } finally {
      all.delete(told);
      if (all.size === 0 && this.#told.get(server) === all) this.#told.delete(server);
      const left = (counts.get(session) ?? 1) - 1;
      if (left > 0) counts.set(session, left);
      else counts.delete(session);
      if (counts.size === 0 && this.#calls.get(server) === counts) this.#calls.delete(server);
    }
  }

  /** The session that alone has calls in flight to the server; undefined when none or several have. */
  sole(server: string): Downstream | undefined {
    const counts = this.#calls.get(server);
    if (counts?.size !== 1) return undefined;
    const [session] = counts.keys();
    for (const other of this.#linger(server)?.keys() ?? []) if (other !== session) return undefined;
    return session;
  }

  /** What the only call in flight to the server is told by; undefined when there is none, or there are several. */
  soleCall(server: string): Tell | undefined {
    const all = this.#told.get(server);
    const [only] = all ?? [];
    return all?.size === 1 && this.sole(server) !== undefined ? only?.tell : undefined;
  }

  /** Enters the session, and forgets those whose time is over. */
  #linger(server: string, session?: Downstream): ReadonlyMap<Downstream, number> | undefined {
    const nowMs = this.#clock.now();
    if (session !== undefined) {
      const entered = mapIn(this.#lingering, server);
      // Behind the others, so that the oldest stand first.
      entered.delete(session);
      entered.set(session, nowMs + LINGER_MS);
    }
    const lingering = this.#lingering.get(server);
    for (const [each, untilMs] of lingering ?? []) {
      if (untilMs > nowMs) break;
      lingering?.delete(each);
    }
    if (lingering?.size === 0) this.#lingering.delete(server);
    return lingering;
  }
}

/** Whether the server may still work on a call that failed so: it neither answered nor was spared. */
function mayRun(error: unknown): boolean {
  return !(error instanceof PoolkitError) || error.acted === undefined || error.acted === 'perhaps';
}

function mapIn(all: Map<string, Map<Downstream, number>>, server: string): Map<Downstream, number> {
  const map = all.get(server) ?? new Map<Downstream, number>();
  all.set(server, map);
  return map;
}
