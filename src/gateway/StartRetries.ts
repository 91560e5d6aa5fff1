import type { Clock, Timer } from '../core/clock.js';
import { ForbiddenError, messageOf, OptionError, SignInError, UnauthorizedError } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import { backoffMs } from '../core/time/backoff.js';
import { sharedAbort } from '../core/wait/sharedAbort.js';
import type { McpPool, ServerState } from '../pool/McpPool.js';

export interface StartRetriesOptions {
  readonly pool: Pick<McpPool, 'on' | 'servers' | 'hasServer' | 'state' | 'config' | 'request'>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The pauses between two tries, in ms. Where the pool's own back-off is longer, that. */
const PAUSES = Object.freeze({ initialMs: 1_000, maxMs: 30_000, jitterRatio: 0 });

/** Tries at a time: each may be a process, and holds one of the pool's connections for as long as the start of a server that is silent. */
const MAX_TRIES = 32;

/** Trying again mends none of these: credentials have to come first, or another config. */
const FOR_PEOPLE = [UnauthorizedError, ForbiddenError, SignInError, OptionError];

/** A server that is down. */
interface Down {
  /** Tries that failed. */
  times: number;
  timer: Timer | undefined;
  /** Whether a try of it has one of the places. */
  trying: boolean;
}

/**
 * Tries servers that failed to start again, until disposed, though no client asks: one that comes up later is told to those who have its
 * lists from before. It asks for a `ping`, as a call like any: the pool's back-off and breaker hold, and only one that is `failed` is
 * asked. One that starts and crashes again and again is no longer that, and is left to the next call.
 */
export class StartRetries implements Disposable {
  readonly #options: StartRetriesOptions;
  readonly #down = new Map<string, Down>();
  /** Whose turn to be tried it is, the first first. */
  readonly #due = new Map<string, Down>();
  #trying = 0;
  readonly #over = sharedAbort();
  readonly #listening: Disposable;

  constructor(options: StartRetriesOptions) {
    this.#options = options;
    const { pool } = options;
    this.#listening = pool.on('state', ({ server, state }) => this.#is(server, state));
    for (const server of pool.servers()) this.#is(server, pool.state(server));
  }

  [Symbol.dispose](): void {
    this.#listening[Symbol.dispose]();
    this.#over.abort();
    this.#due.clear();
    for (const server of [...this.#down.keys()]) this.#forget(server);
  }

  #is(server: string, state: ServerState): void {
    if (state !== 'failed' && state !== 'starting') this.#forget(server);
    // A session of a `bound` server has a connection of its own, and asks for it itself.
    if (state !== 'failed' || this.#down.has(server) || this.#options.pool.config(server)?.sharing === 'bound') return;
    const down: Down = { times: 0, timer: undefined, trying: false };
    this.#down.set(server, down);
    this.#wait(server, down, 0);
  }

  #forget(server: string): void {
    const down = this.#down.get(server);
    if (down === undefined) return;
    down.timer?.cancel();
    this.#down.delete(server);
    this.#due.delete(server);
    // It is up: whether it answers the `ping` is of no matter to those that wait.
    this.#leave(down);
  }

  #leave(down: Down): void {
    if (!down.trying) return;
    down.trying = false;
    this.#trying--;
    this.#next();
  }

  #wait(server: string, down: Down, leastMs: number): void {
    const pauseMs = Math.max(backoffMs(++down.times, PAUSES), leastMs);
    down.timer = this.#options.clock.setTimer(() => {
      this.#due.set(server, down);
      this.#next();
    }, pauseMs);
  }

  #next(): void {
    for (const [server, down] of this.#due) {
      if (this.#trying === MAX_TRIES) return;
      this.#due.delete(server);
      this.#trying++;
      down.trying = true;
      void this.#try(server, down).then(() => this.#leave(down));
    }
  }

  /** Never rejects. */
  async #try(server: string, down: Down): Promise<void> {
    const { pool, logger } = this.#options;
    try {
      // An answer of any kind comes from a server that is up, which its state tells.
      await pool.request(server, 'ping', undefined, { signal: this.#over.signal });
    } catch (error) {
      if (this.#down.get(server) !== down) return;
      logger.debug({ server, error: messageOf(error) }, 'a server that failed to start is still down');
      const { retryAfterMs = 0 } = error as { readonly retryAfterMs?: number };
      if (!FOR_PEOPLE.some((each) => error instanceof each)) this.#wait(server, down, retryAfterMs);
    }
  }
}
