import { randomUUID } from 'node:crypto';
import type { Clock, Timer } from '../../core/clock.js';
import { backoffMs } from '../../core/time/backoff.js';
import type { Lease, LeaseStore } from './LeaseStore.js';
import { RedisSession, type RedisSessionOptions } from './RedisSession.js';

export interface RedisStoreOptions extends Omit<RedisSessionOptions, 'onLost' | 'me' | 'memberMs'> {
  /** The store answers. `forgot`: it may know nothing of what was leased before. */
  readonly onUp: (forgot: boolean) => void;
  /** The store does not answer, or could not be reached; another attempt follows. Called for each failed attempt. */
  readonly onLost: (error: unknown) => void;
}

/** Jitter, so that processes that lost the store together do not come back in step. */
const RETRY = Object.freeze({ initialMs: 50, maxMs: 1_000, jitterRatio: 0.5 });

/** Enough for the longest pause. */
const SLOW_FAILURES = 10;

/** One session with the store after another, until closed. */
export class RedisStore implements LeaseStore {
  readonly #options: RedisStoreOptions;
  readonly #clock: Clock;
  #session: RedisSession | undefined;
  #attempt: Promise<void> = Promise.resolve();
  #retry: Timer | undefined;
  /** Sessions that were lost and have not settled. */
  readonly #ending = new Set<Promise<void>>();
  #failures = 0;
  #runId: string | undefined;
  /** As last seen. */
  #processes: number | undefined;
  /** Clock ms since when the session is up. */
  #upMs = 0;
  readonly #me = randomUUID();
  readonly #memberMs: number;
  #closed = false;
  #slow = false;

  constructor(options: RedisStoreOptions) {
    this.#options = options;
    this.#clock = options.clock;
    this.#memberMs = 4 * options.heartbeatMs + options.storeTimeoutMs;
  }

  /**
   * Processes that shared the limit when last seen; undefined before the first contact. After a loss no fewer than before it, until the
   * others have had time to come back, too: else the first ones there would take each other's share.
   */
  get processes(): number | undefined {
    if (!this.#session?.runId) return this.#processes;
    const { processes } = this.#session;
    return this.#clock.now() - this.#upMs < this.#memberMs ? Math.max(processes, this.#processes ?? 0) : processes;
  }

  open(): void {
    this.#attempt = this.#open();
  }

  lease(weight: number, granted: (lease: Lease) => void): void {
    this.#session?.lease(weight, granted);
  }

  /** The session is lost; as nothing tells that the next will be faster, it is tried as after many failures. */
  giveUp(error: Error): void {
    this.#slow = true;
    this.#session?.fail(error);
  }

  /** Ends the session; resolves when no connection and no timer is left. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#retry?.cancel();
    await Promise.all([this.#session?.settled(), ...this.#ending, this.#attempt]);
  }

  async #open(): Promise<void> {
    const session = new RedisSession({
      ...this.#options,
      me: this.#me,
      memberMs: this.#memberMs,
      onLost: (error, forgot) => {
        if (forgot) this.#runId = undefined;
        this.#attempt = this.#lose(session, error);
      },
    });
    this.#session = session;
    try {
      await session.open();
    } catch (error) {
      await this.#lose(session, error);
      return;
    }
    if (this.#closed) return;
    this.#failures = 0;
    const forgot = this.#processes !== undefined && (session.runId === '' || session.runId !== this.#runId);
    this.#runId = session.runId;
    this.#upMs = this.#clock.now();
    this.#processes = this.processes;
    this.#options.onUp(forgot);
  }

  async #lose(session: RedisSession, error: unknown): Promise<void> {
    this.#processes = this.processes;
    this.#session = undefined;
    if (!this.#closed) this.#options.onLost(error);
    const settling: Promise<void> = session.settled().finally(() => this.#ending.delete(settling));
    this.#ending.add(settling);
    await session.end();
    if (this.#closed) return;
    this.#failures = this.#slow || session.unsteady ? SLOW_FAILURES : this.#failures + 1;
    this.#slow = false;
    const delayMs = backoffMs(this.#failures, RETRY);
    this.#retry = this.#clock.setTimer(() => this.open(), delayMs);
  }
}
