import type { Clock } from '../core/clock.js';
import {
  AcquireTimeoutError,
  RateLimitedError,
  RequestTimeoutError,
  RpcError,
  UpstreamBusyError,
} from '../core/errors.js';
import type { Logger } from '../core/logger.js';
import { AdaptiveLimit, type AdaptiveLimitInspection, type AdaptiveTicket } from './balance/AdaptiveLimit.js';
import type { LimitedCall } from './limiter/Limiter.js';
import { FairQueue } from './queue/FairQueue.js';
import { shareOf } from './Shares.js';

export interface AdaptiveQueueOptions {
  /** What errors call it. */
  readonly name: string;
  readonly maxQueue: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** What one holds, and how many wait. */
export interface AdaptiveQueueInspection extends AdaptiveLimitInspection {
  readonly waiting: number;
}

/**
 * As many calls at a time as an `AdaptiveLimit` finds; the others wait, first in, first out, owners in turns. None waits that the limit
 * would let in, so that one that comes overtakes none of them.
 */
export class AdaptiveQueue {
  readonly #limit: AdaptiveLimit;
  readonly #queue: FairQueue<AdaptiveTicket>;
  readonly #isKeptOut = (owner: string | undefined): boolean => this.#limit.isKeptOut(owner);

  constructor({ name, maxQueue, clock, logger }: AdaptiveQueueOptions) {
    this.#limit = new AdaptiveLimit({ clock, logger });
    this.#queue = new FairQueue({
      what: name,
      maxQueue,
      clock,
      timeoutError: (timeoutMs) => {
        const { limit, inFlight } = this.#limit;
        const detail = { live: 0, creating: 0, dying: 0, slots: limit, inUse: inFlight, waiting: this.#queue.size + 1 };
        return new AcquireTimeoutError(name, timeoutMs, detail);
      },
      onLeave: () => this.#serve(),
    });
  }

  inspect(): AdaptiveQueueInspection {
    return { ...this.#limit.inspect(), waiting: this.#queue.size };
  }

  /** In its turn. Rejects with ERR_ACQUIRE_TIMEOUT, ERR_QUEUE_FULL, the signal's reason, or what `rejectAll` is given. */
  acquire(
    signal: AbortSignal | undefined,
    timeoutMs: number,
    caller: LimitedCall['caller'],
  ): AdaptiveTicket | Promise<AdaptiveTicket> {
    const owner = shareOf(caller);
    const limit = this.#limit;
    const mayEnter = (this.#queue.size === 0 && limit.inFlight < limit.limit) || limit.isKeptOut(owner);
    const ticket = mayEnter ? limit.tryAcquire(owner) : undefined;
    return ticket ?? this.#queue.wait({ signal, timeoutMs, tag: owner }, owner);
  }

  succeeded(ticket: AdaptiveTicket, caller?: string): void {
    this.#limit.succeeded(ticket, caller);
    this.#serve();
  }

  /** The call failed: a timeout and a refusal for load are signs of too much, an error of the protocol is an answer. */
  failed(ticket: AdaptiveTicket, error: unknown, caller?: string): void {
    const refused = error instanceof RateLimitedError && error.source === 'upstream';
    if (error instanceof RpcError) this.#limit.succeeded(ticket, caller);
    else if (refused || error instanceof RequestTimeoutError || error instanceof UpstreamBusyError) {
      this.#limit.dropped(ticket, caller);
    } else this.#limit.ignored(ticket);
    this.#serve();
  }

  rejectAll(error: unknown): void {
    this.#queue.rejectAll(error);
  }

  #serve(): void {
    const limit = this.#limit;
    while (this.#queue.peek() > 0) {
      const waiter = limit.inFlight < limit.limit ? this.#queue.shift() : this.#queue.shiftOf(this.#isKeptOut);
      if (waiter === undefined) return;
      waiter.resolve(limit.tryAcquire(waiter.tag as string | undefined) as AdaptiveTicket);
    }
  }
}
