import { getHeapStatistics } from 'node:v8';
import { Shares, shareOf } from '../../../concurrent/Shares.js';
import type { Clock, Timer } from '../../../core/clock.js';
import { MessageTooLargeError, RequestTimeoutError } from '../../../core/errors.js';
import { inTurnOrNow, spendCaller } from '../../../core/time/turns.js';
import { within } from '../../../core/time/within.js';
import { Turns } from '../../../core/wait/Turns.js';
import { NoRoomError } from '../../net/body/IncomingBytes.js';

/** A shorter result counts for nothing: it takes little, whatever is made of it. */
export const SHORT_RESULT_BYTES = 16 * 1_024;
/** What stands beside the bytes of a result: its text, its parts, the text that is made of them, and that as bytes. */
const COPIES = 5;
/** What its values take beside that, where they are looked at: at most so many times its bytes, and no more than what may be parsed. */
const VALUES_A_BYTE = 25;
const MAX_VALUES_BYTES = 60_000_000;
/** What results that are with middleware take at once, about: a part of the heap. One server takes three quarters. */
const MAX_TAKEN_BYTES = Math.min(384 * 1_024 * 1_024, getHeapStatistics().heap_size_limit / 4);
/** One that takes more goes by itself, beside those that take less. */
const MAX_SHARE_BYTES = MAX_TAKEN_BYTES / 4;
/** Bytes of results that wait for their turn; one server takes three quarters. */
const MAX_WAITING_BYTES = 256 * 1_024 * 1_024;
const MAX_WAIT_MS = 30_000;
/** Middleware that keeps a result for longer holds up no other one any more. */
const MAX_TAKEN_MS = 10_000;

interface Waiter {
  readonly server: string;
  readonly owner: string | undefined;
  readonly amount: number;
  begin(): void;
}

/** Results of one kind. Servers take turns, and their callers, of which each has the oldest of its own: one look at each server, however many wait. */
class Lane {
  readonly #shares: Shares;
  /** By server, in the order of their turns. */
  readonly #waiting = new Map<string, Turns<string | undefined, Waiter>>();

  constructor(max: number) {
    this.#shares = new Shares(max);
  }

  add(waiter: Waiter): void {
    const { server, owner } = waiter;
    const own = this.#waiting.get(server) ?? new Turns();
    own.add(owner, waiter);
    this.#waiting.set(server, own);
    this.#go();
  }

  leave(waiter: Waiter): void {
    const { server, owner } = waiter;
    const own = this.#waiting.get(server);
    if (own?.delete(owner, waiter) !== true) return;
    if (own.size === 0) this.#waiting.delete(server);
    this.#go();
  }

  giveBack({ server, amount }: Waiter): void {
    this.#shares.add(server, -amount);
    this.#go();
  }

  #go(): void {
    for (let next = this.#take(); next !== undefined; next = this.#take()) next.begin();
  }

  #take(): Waiter | undefined {
    for (const [server, own] of this.#waiting) {
      const isFirst = this.#shares.of(server) === 0;
      const { amount = 0 } = own.next ?? {};
      if (!this.#shares.mayTake(server, amount, 0, isFirst)) {
        // The first of a server waits for room alone: none behind it takes that.
        if (isFirst) return undefined;
        continue;
      }
      this.#shares.add(server, amount);
      this.#waiting.delete(server);
      const next = own.take();
      if (own.size > 0) this.#waiting.set(server, own);
      return next;
    }
    return undefined;
  }
}

const shared = new Lane(MAX_TAKEN_BYTES);
const alone = new Lane(1);
const waiting = new Shares(MAX_WAITING_BYTES);

/** Of a call, in ms, and when that is over. */
export interface Deadline {
  readonly deadlineMs: number;
  readonly untilMs: number;
}

/** Whose results they are. */
interface Asked {
  readonly server: string | undefined;
  readonly method: string;
  readonly caller: Parameters<typeof shareOf>[0];
}

/** Room for one call's results while they are with middleware, which may take many times their bytes. */
export class ResultRoom {
  readonly #of: Asked;
  readonly #clock: Clock;
  readonly #signal: AbortSignal | undefined;
  #taken: { readonly lane: Lane; readonly waiter: Waiter; readonly timer: Timer } | undefined;
  /** The wait for a turn: one at a time, however often middleware asks at once. */
  #turn: { readonly over: Promise<void>; readonly leave: () => void } | undefined;
  #closed = false;

  constructor(of: Asked, clock: Clock, signal: AbortSignal | undefined) {
    this.#of = of;
    this.#clock = clock;
    this.#signal = signal;
  }

  /**
   * Waits until there is room for a result of so many bytes. What was taken for another before is given back, unless it does.
   * @throws MessageTooLargeError when too much waits already, or for too long; RequestTimeoutError at the deadline; the signal's reason
   */
  async take(bytes: number, deadline: Deadline | undefined): Promise<void> {
    while (this.#turn !== undefined) await this.#turn.over;
    const all = bytes * COPIES + Math.min(bytes * VALUES_A_BYTE, MAX_VALUES_BYTES);
    const lane = all <= MAX_SHARE_BYTES ? shared : alone;
    const amount = lane === shared ? all : 1;
    if (this.#closed || (this.#taken?.lane === lane && this.#taken.waiter.amount >= amount)) return;
    this.end();
    const { server = 'gateway', caller } = this.#of;
    let onTurn = (): void => undefined;
    const waiter: Waiter = {
      server,
      owner: shareOf(caller),
      amount,
      begin: () => {
        const timer = this.#clock.setTimer(() => this.end(), MAX_TAKEN_MS);
        this.#taken = { lane, waiter, timer };
        onTurn();
      },
    };
    lane.add(waiter);
    if (this.#taken !== undefined) return;
    const over = new Promise<void>((resolve) => {
      onTurn = resolve;
    });
    const leave = (): void => {
      lane.leave(waiter);
      onTurn();
    };
    this.#turn = { over, leave };
    try {
      await this.#wait(server, bytes, over, deadline);
    } finally {
      this.#turn = undefined;
      leave();
    }
    // Each begins as the one before it ends: a thousand are not all gone on with in one turn.
    await inTurnOrNow(spendCaller);
  }

  /** It is with middleware no longer. */
  end(): void {
    if (this.#taken === undefined) return;
    const { lane, waiter, timer } = this.#taken;
    this.#taken = undefined;
    timer.cancel();
    lane.giveBack(waiter);
  }

  /** Its call is over: what comes for it now goes to no one that is waited for. */
  close(): void {
    this.#closed = true;
    this.end();
    this.#turn?.leave();
  }

  async #wait(server: string, bytes: number, turn: Promise<void>, deadline: Deadline | undefined): Promise<void> {
    const tooMuch = (): Error => {
      const why = `${waiting.taken} bytes of results wait for middleware, ${waiting.of(server)} of them of this server`;
      return new MessageTooLargeError(server, 'incoming', bytes, waiting.max, new NoRoomError(why));
    };
    if (!waiting.mayTake(server, bytes, 0, waiting.of(server) === 0)) throw tooMuch();
    const leftMs = deadline === undefined ? MAX_WAIT_MS : Math.max(0, deadline.untilMs - this.#clock.now());
    const late = (): Error =>
      deadline !== undefined && leftMs < MAX_WAIT_MS
        ? new RequestTimeoutError(server, this.#of.method, deadline.deadlineMs)
        : tooMuch();
    const timeoutMs = Math.min(leftMs, MAX_WAIT_MS);
    waiting.add(server, bytes);
    try {
      await within(turn, { clock: this.#clock, timeoutMs, late, signal: this.#signal });
    } finally {
      waiting.add(server, -bytes);
    }
  }
}
