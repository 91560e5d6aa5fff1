import { getHeapStatistics } from 'node:v8';
import { FairRoom, type Place } from '../../../concurrent/FairRoom.js';
import { Shares, shareOf } from '../../../concurrent/Shares.js';
import type { Clock, Timer } from '../../../core/clock.js';
import { MessageTooLargeError, RequestTimeoutError } from '../../../core/errors.js';
import { within } from '../../../core/time/within.js';
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

const shared = new FairRoom({ max: MAX_TAKEN_BYTES, firstGoesFirst: true });
const alone = new FairRoom({ max: 1, firstGoesFirst: true });
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
  readonly #over: Promise<void>;
  #held: { readonly room: FairRoom; readonly place: Place; readonly timer: Timer } | undefined;
  /** One waits at a time, however often middleware asks at once. */
  #last: Promise<void> = Promise.resolve();
  #isOver = false;
  #end: () => void = () => undefined;

  constructor(of: Asked, clock: Clock, signal: AbortSignal | undefined) {
    this.#of = of;
    this.#clock = clock;
    this.#signal = signal;
    this.#over = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  /**
   * Waits until there is room for a result of so many bytes. What was taken for another before is given back, unless it does.
   * @throws MessageTooLargeError when too much waits already, or for too long; RequestTimeoutError at the deadline; the signal's reason
   */
  take(bytes: number, deadline: Deadline | undefined): Promise<void> {
    const taking = this.#last.then(() => this.#take(bytes, deadline));
    this.#last = taking.catch(() => undefined); // its caller is told
    return taking;
  }

  /** It is with middleware no longer. */
  end(): void {
    const held = this.#held;
    this.#held = undefined;
    held?.timer.cancel();
    held?.room.release(held.place);
  }

  /** Its call is over: what comes for it now goes to no one that is waited for. */
  close(): void {
    this.#isOver = true;
    this.#end();
    this.end();
  }

  async #take(bytes: number, deadline: Deadline | undefined): Promise<void> {
    const all = bytes * COPIES + Math.min(bytes * VALUES_A_BYTE, MAX_VALUES_BYTES);
    const room = all <= MAX_SHARE_BYTES ? shared : alone;
    const amount = room === shared ? all : 1;
    if (this.#isOver || (this.#held?.room === room && this.#held.place.amount >= amount)) return;
    this.end();
    const { server = 'gateway', caller } = this.#of;
    const wanted = { group: server, owner: shareOf(caller), amount };
    const place = await room.take(wanted, (turn) => this.#wait(server, bytes, turn, deadline));
    const timer = this.#clock.setTimer(() => this.end(), MAX_TAKEN_MS);
    this.#held = { room, place, timer };
    if (this.#isOver) this.end();
  }

  #wait(server: string, bytes: number, turn: Promise<void>, deadline: Deadline | undefined): Promise<void> {
    const tooMuch = (): Error => {
      const why = `${waiting.taken} bytes of results wait for middleware, ${waiting.of(server)} of them of this server`;
      return new MessageTooLargeError(server, 'incoming', bytes, waiting.max, new NoRoomError(why));
    };
    const leftMs = deadline === undefined ? MAX_WAIT_MS : Math.max(0, deadline.untilMs - this.#clock.now());
    const late = (): Error =>
      deadline !== undefined && leftMs < MAX_WAIT_MS
        ? new RequestTimeoutError(server, this.#of.method, deadline.deadlineMs)
        : tooMuch();
    const bounds = { clock: this.#clock, timeoutMs: Math.min(leftMs, MAX_WAIT_MS), late, signal: this.#signal };
    return waiting.during(server, bytes, tooMuch, () => within(Promise.race([turn, this.#over]), bounds));
  }
}
