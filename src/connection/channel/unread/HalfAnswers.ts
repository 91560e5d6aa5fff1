import type { Call, CallTable } from '../Call.js';
import { skipJson, skipSpace } from '../codec/skipJson.js';
import { MAX_LOG_BYTES } from './valueInFront.js';

/**
 * Half of an answer, or the edges of one, that name no call. It was for one of the calls that were owed an answer when it came: once all others of them are
 * answered, the one that is left. A server that answers nothing twice is taken for granted: what speaks against it ends the doubt.
 */
export class HalfAnswers {
  readonly #calls: CallTable;
  /** Fails the call that it turns out to be of. */
  #lost: (call: Call) => void = () => undefined;
  /** Ids of the calls that it may be of, none of which was answered since. */
  readonly #owners = new Set<number>();

  constructor(calls: CallTable) {
    this.#calls = calls;
  }

  /**
   * One that comes while there is doubt about another is left alone: lines of a broken answer may begin alike. So is, among several
   * calls, a whole value with more behind it: a log line may be one.
   */
  came(line: Buffer, lost: (call: Call) => void): void {
    const several = (this.#calls.owed()?.length ?? 0) > 1;
    if (several && line.length <= MAX_LOG_BYTES && skipJson(line, skipSpace(line, 0)) >= 0) return;
    this.owed(lost);
  }

  /** Something came in the place of an answer. */
  owed(lost: (call: Call) => void): void {
    if (this.#owners.size > 0) return;
    this.#lost = lost;
    for (const id of this.#calls.owed() ?? []) this.#owners.add(id);
    this.#calls.onAnswered = (id) => this.#answered(id);
    this.#decide();
  }

  /** It cannot be told any more whose it is: that call ends otherwise, by its time at the latest. */
  forget(): void {
    this.#owners.clear();
    this.#calls.onAnswered = undefined;
  }

  /** A call it may be of is at work still, or has failed as a server answers that could not write its result: it may be of no other then. */
  doubts(call: Call): void {
    if (this.#owners.has(call.id)) this.forget();
  }

  #answered(id: number | undefined): void {
    if (id === undefined) this.forget();
    else if (this.#owners.delete(id)) this.#decide();
  }

  #decide(): void {
    if (this.#owners.size > 1) return;
    const [id] = this.#owners;
    this.forget();
    const call = id === undefined ? undefined : this.#calls.sent(id);
    if (call !== undefined) this.#lost(call);
    else if (id !== undefined) this.#calls.answeredLate(id);
  }
}
