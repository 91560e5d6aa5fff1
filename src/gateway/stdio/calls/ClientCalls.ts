import { LARGE_REPLY_CHARS } from '../../../connection/channel/ServerRequests.js';
import type { Clock, Timer } from '../../../core/clock.js';
import { MessageTooLargeError, type PoolkitError, QueueFullError } from '../../../core/errors.js';
import type { Incoming } from '../../rpc/envelope.js';
import { LATE_MS } from '../readResponse.js';

/** Messages of one client that are under way: as many as a session may have requests. */
const MAX_CALLS = 1_000;
/** Of notifications and answers, which nothing can refuse, as many more fit: a cancellation reaches its call. */
const MAX_WITH_NOTICES = 2 * MAX_CALLS;

/** What a client has sent and is still at work: bounded in number and bytes, and known by its ids to be cancelled. */
export class ClientCalls {
  readonly #maxBytes: number;
  readonly #clock: Clock;
  readonly #running = new Set<Promise<void>>();
  #bytes = 0;
  /** Clients may use an id for several at once. */
  readonly #cancels = new Map<string, Set<Cancellable>>();

  constructor(maxBytes: number, clock: Clock) {
    this.#maxBytes = maxBytes;
    this.#clock = clock;
  }

  /** Why one more of so many bytes is not taken; undefined when it is. */
  refusal(bytes: number, isNotice = false): PoolkitError | undefined {
    const { size } = this.#running;
    const max = isNotice ? MAX_WITH_NOTICES : MAX_CALLS;
    if (size >= max) return new QueueFullError('messages of the client', size, max);
    const held = this.#bytes + bytes;
    // A single message has a bound of its own.
    if (held <= this.#maxBytes || size === 0) return undefined;
    return new MessageTooLargeError('gateway', 'outgoing', held, this.#maxBytes);
  }

  /** `work` never rejects. */
  add(bytes: number, work: Promise<void>): void {
    this.#bytes += bytes;
    const run = work.finally(() => {
      this.#bytes -= bytes;
      this.#running.delete(run);
    });
    this.#running.add(run);
  }

  /** Resolves when all of them have ended. */
  async ended(): Promise<void> {
    await Promise.all(this.#running);
  }

  /**
   * Work on a request that may be cancelled by its key: what it fails with then is told to none. `ends`: its signal ends it, as in the
   * modern era and while nothing of it was sent; of the others the gateway is told, and one that it does not end is ended a while later.
   * Resolves to false when it was cancelled.
   */
  async cancellable(key: string, ends: boolean, work: (signal: AbortSignal) => Promise<void>): Promise<boolean> {
    const call: Cancellable = { control: new AbortController(), ends, isCancelled: false, late: undefined };
    const same = this.#cancels.get(key) ?? new Set();
    this.#cancels.set(key, same.add(call));
    try {
      await work(call.control.signal);
      return true;
    } catch (error) {
      if (!call.isCancelled) throw error;
      return false;
    } finally {
      call.late?.cancel();
      if (same.delete(call) && same.size === 0) this.#cancels.delete(key);
    }
  }

  /** False when there is none of that key that ends by this alone. */
  cancel(key: string, reason: Error): boolean {
    const found = [...(this.#cancels.get(key) ?? [])];
    for (const each of found) {
      each.isCancelled = true;
      if (each.ends) each.control.abort(reason);
      else each.late ??= this.#clock.setTimer(() => each.control.abort(reason), LATE_MS);
    }
    return found.some(({ ends }) => ends);
  }

  cancelAll(reason: unknown): void {
    for (const { control } of [...this.#cancels.values()].flatMap((same) => [...same])) control.abort(reason);
  }
}

interface Cancellable {
  readonly control: AbortController;
  readonly ends: boolean;
  /** By the client. */
  isCancelled: boolean;
  /** Ends it, if its gateway does not. */
  late: Timer | undefined;
}

/** A flood of a gateway's asking makes many of them. */
export const isSmallReply = (line: string, message: Incoming | undefined): boolean =>
  message?.kind === 'response' && line.length <= LARGE_REPLY_CHARS;
