import { Shares } from '../../../concurrent/Shares.js';
import { systemClock } from '../../../core/clock.js';
import { sleep } from '../../../core/time/sleep.js';

/** What the values of lists cost that are being read, in the units of `costOf`, of all servers of the process; one server takes three quarters. */
const MAX_COST = 240_000_000;
/** The most that a byte of JSON costs, and a page so short that it does not count. */
const MAX_COST_A_BYTE = 300;
const SHORT_BYTES = 16 * 1_024;
/** Its caller has looked at a list, and has kept what is to be kept, by then, in ms. */
const LOOKED_AT_MS = 1_000;
const LOOK_MS = 20;

const shares = new Shares(MAX_COST);
/** What lists that were read give back, the oldest first. */
const ended: { readonly atMs: number; readonly server: string; readonly held: number }[] = [];

function giveBack(): void {
  while (ended[0] !== undefined && ended[0].atMs <= systemClock.now()) {
    const { server, held } = ended.shift() as (typeof ended)[number];
    shares.add(server, -held);
  }
}

/** Room for the values of one list while it is read: a few megabytes of text may be a hundred times as much. */
export class ReadingRoom {
  readonly #server: string;
  #held = 0;
  #page = 0;

  constructor(server: string) {
    this.#server = server;
  }

  /** Waits until there is room for a page, whatever it says: at most `most`. Rejects with what `check` throws before. */
  async take(page: unknown, most: number, check: () => void): Promise<void> {
    this.#page = 0;
    if (!(page instanceof Uint8Array) || page.length < SHORT_BYTES) return;
    const amount = Math.min(most, page.length * MAX_COST_A_BYTE);
    const hasRoom = (): boolean => {
      giveBack();
      return shares.mayTake(this.#server, amount, 0, shares.of(this.#server) === 0);
    };
    while (!hasRoom()) {
      check();
      await sleep(systemClock, LOOK_MS);
    }
    this.#page = amount;
    this.#add(amount);
  }

  /** The page that was taken costs so much. */
  weighed(cost: number): void {
    if (this.#page > 0) this.#add(cost - this.#page);
    this.#page = 0;
  }

  /** The list is read, or is not. */
  end(): void {
    if (this.#held > 0) ended.push({ atMs: systemClock.now() + LOOKED_AT_MS, server: this.#server, held: this.#held });
  }

  #add(amount: number): void {
    this.#held += amount;
    shares.add(this.#server, amount);
  }
}
