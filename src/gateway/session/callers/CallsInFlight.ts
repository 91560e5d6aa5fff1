import type { Clock } from '../../../core/clock.js';
import { PoolkitError } from '../../../core/errors.js';
import type { ServerNotice } from '../../../pool/McpPool.js';
import type { Downstream } from '../../endpoint/Endpoint.js';

/** Tells a call's client what its server said. */
export type Tell = (notice: ServerNotice) => void;

/** How long a server may still speak about a call that was given up without its answer, in ms. */
const LINGER_MS = 30_000;

/** Records of servers without a call are kept up to this many, so that a call alone makes none. */
const MAX_KEPT = 256;

/** The calls in flight to one server, each linked to the next, so that a call costs one object and no table grows or shrinks. */
class ToServer {
  first: Flight | undefined;
  size = 0;
  /** Sessions that have a call among them. */
  sessions = 0;
  /** How many of them are each session's. */
  readonly counts = new WeakMap<Downstream, { calls: number }>();
}

/** One call in flight. */
export class Flight {
  readonly session: Downstream;
  /** What it is told by of what came on no call's stream. */
  readonly tell: Tell | undefined;
  readonly #owner: CallsInFlight;
  readonly #server: string;
  readonly #all: ToServer;
  readonly #count: { calls: number };
  #next: Flight | undefined;
  #previous: Flight | undefined;

  /** Use `CallsInFlight.begin`. */
  constructor(owner: CallsInFlight, server: string, all: ToServer, session: Downstream, tell: Tell | undefined) {
    this.#owner = owner;
    this.#server = server;
    this.#all = all;
    this.session = session;
    this.tell = tell;
    let count = all.counts.get(session);
    if (count === undefined) {
      count = { calls: 0 };
      all.counts.set(session, count);
    }
    this.#count = count;
    if (count.calls++ === 0) all.sessions++;
    all.size++;
    this.#next = all.first;
    if (all.first !== undefined) all.first.#previous = this;
    all.first = this;
  }

  /** It failed: it may still run at its server. */
  failed(error: unknown): void {
    if (mayRun(error)) this.#owner.linger(this.#server, this.session);
  }

  /** It is over. To be called once. */
  end(): void {
    const all = this.#all;
    if (this.#previous === undefined) all.first = this.#next;
    else this.#previous.#next = this.#next;
    if (this.#next !== undefined) this.#next.#previous = this.#previous;
    // One that is over and old would keep the next one alive, and so on: docs/decisions/080-call-table.md.
    this.#next = undefined;
    this.#previous = undefined;
    if (--this.#count.calls === 0) all.sessions--;
    if (--all.size === 0) this.#owner.emptied(this.#server);
  }
}

/**
 * Which sessions have calls in flight to each server. A call that was cancelled or timed out may still run there, and what
 * its server says about it must not be taken for another session's: it counts for a while longer.
 */
export class CallsInFlight {
  readonly #clock: Clock;
  readonly #servers = new Map<string, ToServer>();
  /**
   * Until when each session's calls that were given up count, by server: of the two that count longest. More are not needed to know that there is
   * another, and each may be held long after it has ended.
   */
  readonly #lingering = new Map<string, Map<Downstream, number>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Counts a call until it is ended. */
  begin(server: string, session: Downstream, tell: Tell | undefined): Flight {
    let all = this.#servers.get(server);
    if (all === undefined) {
      all = new ToServer();
      this.#servers.set(server, all);
    }
    return new Flight(this, server, all, session, tell);
  }

  /** The session that alone has calls in flight to the server; undefined when none or several have. */
  sole(server: string): Downstream | undefined {
    const all = this.#servers.get(server);
    if (all?.first === undefined || all.sessions !== 1) return undefined;
    const { session } = all.first;
    for (const other of this.linger(server)?.keys() ?? []) if (other !== session) return undefined;
    return session;
  }

  /** What the only call in flight to the server is told by; undefined when there is none, or others are or may be: all modern clients count as one session. */
  soleCall(server: string): Tell | undefined {
    const all = this.#servers.get(server);
    return all?.size === 1 && this.linger(server) === undefined ? all.first?.tell : undefined;
  }

  /** No call to the server is left. */
  emptied(server: string): void {
    if (this.#servers.size > MAX_KEPT) this.#servers.delete(server);
  }

  /** Enters the session, and forgets those whose time is over; undefined where none is left. */
  linger(server: string, session?: Downstream): ReadonlyMap<Downstream, number> | undefined {
    const nowMs = this.#clock.now();
    if (session !== undefined) {
      const entered = mapIn(this.#lingering, server);
      // Behind the others, so that the oldest stand first.
      entered.delete(session);
      entered.set(session, nowMs + LINGER_MS);
      const [oldest] = entered.keys();
      if (entered.size > 2 && oldest !== undefined) entered.delete(oldest);
    }
    const lingering = this.#lingering.get(server);
    for (const [each, untilMs] of lingering ?? []) {
      if (untilMs > nowMs) break;
      lingering?.delete(each);
    }
    if (lingering?.size !== 0) return lingering;
    this.#lingering.delete(server);
    return undefined;
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
