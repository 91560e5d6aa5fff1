import type { Clock } from '../core/clock.js';
import { ClosedError, messageOf, ServerNotFoundError, ServerStoppedError } from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import { backoffMs } from '../core/time/backoff.js';
import { sleep } from '../core/time/sleep.js';
import { AbortHub } from '../core/wait/AbortHub.js';

/** A subscription on one target. */
export interface TargetSubscription {
  readonly filter: object;
  readonly ended: Promise<void>;
  close(): Promise<void>;
}

export interface MovingOptions<S extends TargetSubscription> {
  readonly server: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The caller's own. */
  readonly signal: AbortSignal | undefined;
  /** Aborts when the server ends. */
  readonly closing: AbortSignal;
  /** Whether what an attempt failed with ends it. @defaultValue the server was stopped or is gone */
  readonly isFinal?: (error: unknown) => boolean;
  /** Called when it is over for good, by neither its caller nor the end of the server. */
  readonly onOver?: (filter: S['filter']) => void;
}

/**
 * The times between attempts to subscribe elsewhere, doubling: a server may end each subscription as soon as it is there, and there are as many
 * of them as subscribers. After one that lasted for the first of these times they begin anew.
 */
const AGAIN = Object.freeze({ initialMs: 1_000, maxMs: 30_000, jitterRatio: 0.25 });

const waits = new AbortHub();

/** A subscription that is taken up again when what it was on ends: on another target, or on the server in its place. */
export class MovingSubscription<S extends TargetSubscription> {
  readonly filter: S['filter'];
  readonly ended: Promise<void>;
  readonly #open: () => Promise<S>;
  readonly #options: MovingOptions<S>;
  readonly #closed = new AbortController();
  #current: S;
  /** Pauses since one lasted. */
  #failures = 0;

  static async open<S extends TargetSubscription>(open: () => Promise<S>, options: MovingOptions<S>) {
    return new MovingSubscription(await open(), open, options);
  }

  private constructor(first: S, open: () => Promise<S>, options: MovingOptions<S>) {
    this.filter = first.filter;
    this.#current = first;
    this.#open = open;
    this.#options = options;
    const { signal, closing } = options;
    const watched = [closing, ...(signal === undefined ? [] : [signal])].filter((each) => {
      if (each.aborted) this.#closed.abort();
      return !each.aborted;
    });
    const watches = watched.map((each) => waits.watch(each, () => this.#closed.abort()));
    this.ended = this.#follow().finally(() => {
      for (const each of watches) each[Symbol.dispose]();
    });
  }

  async close(): Promise<void> {
    this.#closed.abort();
    await this.#current.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Resolves when it is over for good: by its caller, or since its server was stopped. */
  async #follow(): Promise<void> {
    const { clock } = this.#options;
    for (let short = 0; ; ) {
      const sinceMs = clock.now();
      await this.#current.ended;
      if (clock.now() - sinceMs >= AGAIN.initialMs) short = this.#failures = 0;
      // One may move at once, since its target was removed; the next that ends so soon was ended by a server.
      else if (++short > 1) await this.#pause();
      const next = await this.#elsewhere();
      if (next === undefined) {
        if (!this.#closed.signal.aborted) this.#options.onOver?.(this.filter);
        return;
      }
      this.#current = next;
      if (!this.#closed.signal.aborted) continue;
      // It came too late: no one waits for its end.
      await next.close().catch((error: unknown) => this.#options.logger.debug({ error }, 'a subscription did not end'));
      return;
    }
  }

  async #elsewhere(): Promise<S | undefined> {
    const { server, logger, isFinal = isGone } = this.#options;
    const { signal } = this.#closed;
    while (!signal.aborted) {
      try {
        return await this.#open();
      } catch (error) {
        if (signal.aborted || isFinal(error)) return undefined;
        logger.warn({ server, error: messageOf(error) }, 'a subscription could not be taken up again');
        await this.#pause();
      }
    }
    return undefined;
  }

  /** Shorter when it is closed meanwhile. */
  async #pause(): Promise<void> {
    const { signal } = this.#closed;
    await sleep(this.#options.clock, backoffMs(++this.#failures, AGAIN), { signal, ref: false }).catch(() => undefined);
  }
}

/** Calls `over` when a subscription has ended. */
export const untilEnded =
  (over: () => void) =>
  <S extends TargetSubscription>(subscription: S): S => {
    subscription.ended.then(over, over);
    return subscription;
  };

/** Whether there is no such server any more, or not before it is started again. */
export const isGone = (error: unknown): boolean =>
  error instanceof ServerStoppedError || error instanceof ClosedError || error instanceof ServerNotFoundError;
