import type { Clock } from '../../../core/clock.js';
import { keptError, MessageTooLargeError, ProtocolError, RequestTimeoutError } from '../../../core/errors.js';
import { backoffMs } from '../../../core/time/backoff.js';
import type { Caller, ListKind, McpPool } from '../../../pool/McpPool.js';

interface Failure {
  readonly error: unknown;
  readonly times: number;
  readonly untilMs: number;
}

/** How long a list that is at fault is not asked for again: doubling with each time it still is. */
const AGAIN = Object.freeze({ initialMs: 1_000, maxMs: 30_000, jitterRatio: 0 });
/** How long clients do not wait for a list that took all of its time and did not come: doubling with each time it still does not. */
const LATE = Object.freeze({ initialMs: 30_000, maxMs: 600_000, jitterRatio: 0 });
/** So long they do all the same, in ms: it may come at once by now. */
const LATE_WAIT_MS = 250;
/** Failures that are remembered; the oldest makes room. */
const MAX_FAILURES = 1_000;

/**
 * Lists whose own content was the failure: too large, too costly, or no list. The same would come again, at the same cost, with each
 * request of any client; so `listAll` rejects with the same error for a while, until `forget`. What a server that is down
 * rejects with is not remembered: the pool itself knows when to try again. One that did not come in all of its time is asked for each time, and clients
 * wait for it a moment only.
 */
export class ListFailures {
  readonly #pool: Pick<McpPool, 'listAll'>;
  readonly #clock: Clock;
  readonly #failures = new Map<string, Failure>();
  /** Lists that took all of their time, by whose they are and their server: what a client's own process leaves unanswered is no one else's matter. */
  readonly #late = new WeakMap<object, Map<string, Omit<Failure, 'error'>>>();

  constructor(pool: Pick<McpPool, 'listAll'>, clock: Clock) {
    this.#pool = pool;
    this.#clock = clock;
  }

  /** The pool's, with that memory. */
  readonly listAll: McpPool['listAll'] = async (server, kind, options) => {
    const key = keyOf(server, kind, options?.caller);
    const failure = this.#failures.get(key);
    if (failure !== undefined && this.#clock.now() < failure.untilMs) throw failure.error;
    try {
      const list = await this.#pool.listAll(server, kind, options);
      this.#failures.delete(key);
      return list;
    } catch (error) {
      if (!(error instanceof ProtocolError || error instanceof MessageTooLargeError)) throw error;
      const kept = keptError(error);
      this.#add(key, kept);
      throw kept;
    }
  };

  /** It may be another list by now: the next to ask has its server asked. */
  forget(server: string, kind: ListKind, lists: object): void {
    const start = listKey(server, kind);
    for (const key of this.#failures.keys()) if (key.startsWith(start)) this.#failures.delete(key);
    this.#late.get(lists)?.delete(server);
  }

  /** What came of a list that was asked for, one of `lists`: those of all clients, or of one, of one kind. */
  told(server: string, lists: object, error?: unknown): void {
    const late = this.#late.get(lists) ?? new Map<string, Omit<Failure, 'error'>>();
    const times = (late.get(server)?.times ?? 0) + 1;
    if (error === undefined) late.delete(server);
    else if (error instanceof RequestTimeoutError) {
      late.set(server, { times, untilMs: this.#clock.now() + backoffMs(times, LATE) });
      this.#late.set(lists, late);
    }
  }

  /** How long a client waits for a list, of `waitMs`: it, or others whose list it is, have waited in vain for what its server leaves unanswered. */
  waitMs(server: string, lists: object, waitMs: number): number {
    const late = this.#late.get(lists)?.get(server);
    return late !== undefined && this.#clock.now() < late.untilMs ? Math.min(LATE_WAIT_MS, waitMs) : waitMs;
  }

  #add(key: string, error: unknown): void {
    const times = (this.#failures.get(key)?.times ?? 0) + 1;
    this.#failures.delete(key);
    const [oldest] = this.#failures.keys();
    if (this.#failures.size >= MAX_FAILURES && oldest !== undefined) this.#failures.delete(oldest);
    this.#failures.set(key, { error, times, untilMs: this.#clock.now() + backoffMs(times, AGAIN) });
  }
}

const listKey = (server: string, kind: ListKind): string => JSON.stringify([server, kind]);

/** Begins alike for all callers of one list. */
const keyOf = (server: string, kind: ListKind, caller: Caller | undefined): string =>
  `${listKey(server, kind)}${JSON.stringify([caller?.principal, caller?.key])}`;
