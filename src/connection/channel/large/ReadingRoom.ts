import { FairRoom, type Place } from '../../../concurrent/FairRoom.js';
import { shareOf } from '../../../concurrent/Shares.js';
import type { Clock } from '../../../core/clock.js';
import { within } from '../../../core/time/within.js';
import { underAll } from '../../../core/wait/underAll.js';
import { costOf } from '../codec/parsingCost.js';

/** What the values of lists cost that are being read, in the units of `costOf`, of all servers of the process; one server takes three quarters. */
const MAX_COST = 240_000_000;
/** The most that a byte of JSON costs, and a page so short that it does not count. */
const MAX_COST_A_BYTE = 300;
const SHORT_BYTES = 16 * 1_024;
/** The cost of a page that is no longer is found out in a millisecond. */
const FOUND_OUT_BYTES = 256 * 1_024;
/** Its caller has looked at a list, and has kept what is to be kept, by then, in ms. */
const LOOKED_AT_MS = 1_000;

const room = new FairRoom({ max: MAX_COST, lingerMs: LOOKED_AT_MS });

/** Whose list it is. */
export interface ListReader {
  readonly server: string;
  readonly caller?: Parameters<typeof shareOf>[0];
  readonly clock: Clock;
  /** Each aborts once the list is not wanted any more. */
  readonly signals?: readonly (AbortSignal | undefined)[];
}

/** Room for the values of one list while it is read: a few megabytes of text may be a hundred times as much. */
export class ReadingRoom {
  readonly #reader: ListReader;
  readonly #pages: Place[] = [];
  #page: Place | undefined;

  constructor(reader: ListReader) {
    this.#reader = reader;
  }

  /** Resolves when there is room for a page, whatever it says: at most `most`. @throws a signal's reason; what `late` gives, after `timeoutMs` */
  async take(page: unknown, most: number, timeoutMs = Number.POSITIVE_INFINITY, late?: () => Error): Promise<void> {
    this.#page = undefined;
    if (!(page instanceof Uint8Array) || page.length < SHORT_BYTES) return;
    const { server: group, caller, clock, signals = [] } = this.#reader;
    const amount =
      page.length <= FOUND_OUT_BYTES
        ? costOf(Buffer.from(page.buffer, page.byteOffset, page.byteLength), most)
        : page.length * MAX_COST_A_BYTE;
    const bounds = { clock, timeoutMs: Math.max(0, timeoutMs), ...(late && { late }) };
    this.#page = await room.take({ group, owner: shareOf(caller), amount: Math.min(most, amount) }, (turn) =>
      underAll(signals, (signal) => within(turn, { ...bounds, signal })),
    );
    this.#pages.push(this.#page);
  }

  /** The page that was taken costs so much. */
  weighed(cost: number): void {
    if (this.#page !== undefined) room.resize(this.#page, cost);
  }

  /** The list is read, or is not. */
  end(): void {
    for (const page of this.#pages) room.release(page);
  }
}
