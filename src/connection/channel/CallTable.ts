import { IdTable } from '../../core/wait/IdTable.js';
import type { Call } from './Call.js';
import { ownId } from './codec/ownId.js';

/** More are not told apart: each may still be answered, for ever. */
const MAX_GIVEN_UP = 1_000;

/** The calls of one channel, by their ids. */
export class CallTable {
  readonly #calls = new IdTable<Call>();
  #raw = 0;
  /** Whether there was a call whose result stays bytes. */
  everRaw = false;
  #newest = 0;
  #onIdle: (() => void)[] = [];
  /** Ids of calls that were given up and not answered. */
  readonly #givenUp = new Set<number>();

  get size(): number {
    return this.#calls.size;
  }

  /** Calls whose results stay bytes. */
  get raw(): number {
    return this.#raw;
  }

  /** The id of the next call, whether it is added or not. */
  nextId(): number {
    return ++this.#newest;
  }

  /** The call that an answer's id is of, and that waits for it. One that was never sent cannot be answered. */
  sent(id: unknown): Call | undefined {
    const own = typeof id === 'number' ? id : ownId(id);
    const call = own === undefined ? undefined : this.get(own);
    return call?.phase === 'sent' ? call : undefined;
  }

  /** The only call that the other side owes an answer, if there is just one, those given up among them. */
  onlyOwed(): Call | undefined {
    if (this.size !== 1 || this.#givenUp.size > 0) return undefined;
    return this.values()[0];
  }

  /** A sent call is given up: its answer may still come. */
  gaveUp(id: number): void {
    if (this.#givenUp.size < MAX_GIVEN_UP) this.#givenUp.add(id);
  }

  /** The answer to a call that was given up came. */
  answeredLate(id: unknown): void {
    // Beyond the bound those that are left are not known.
    if (this.#givenUp.size < MAX_GIVEN_UP) this.#givenUp.delete(ownId(id) ?? 0);
  }

  /** Whether an answer's id was given out, and its call has settled. */
  isPast(id: unknown): boolean {
    const own = ownId(id) ?? 0;
    return Number.isInteger(own) && own > 0 && own <= this.#newest && this.get(own) === undefined;
  }

  /** By an id as a message has it. */
  find(id: unknown): Call | undefined {
    const own = ownId(id);
    return own === undefined ? undefined : this.get(own);
  }

  get(id: number): Call | undefined {
    return this.#calls.get(id);
  }

  /** Its id must be new. */
  add(call: Call): void {
    this.#calls.add(call);
    if (call.options.raw === true) {
      this.#raw++;
      this.everRaw = true;
    }
  }

  delete(call: Call): void {
    if (!this.#calls.delete(call)) return;
    if (call.options.raw === true) this.#raw--;
    if (this.size === 0 && this.#onIdle.length > 0) for (const tell of this.#onIdle.splice(0)) tell();
  }

  /** Resolves when there is none. */
  idle(): Promise<void> {
    if (this.size === 0) return Promise.resolve();
    return new Promise((resolve) => void this.#onIdle.push(resolve));
  }

  /** All of them, oldest first. */
  values(): Call[] {
    return this.#calls.values();
  }
}
