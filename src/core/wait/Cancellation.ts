import { thrown } from '../errors/thrown.js';

/** What can wait for an abort by itself. */
export interface AbortEntry {
  onAbort(reason: unknown): void;
}

/** Those that wait for one abort. */
export interface AbortGroup {
  /** Stops watching; O(1), idempotent. */
  leave(entry: AbortEntry): void;
}

/**
 * What ends one piece of work from outside, as an AbortController does, but one small object: a signal is made for those that
 * ask for it. A gateway has one for each request, and nearly none is ever aborted or asked for its signal.
 */
export class Cancellation implements AbortGroup {
  #controller: AbortController | undefined;
  #entries: AbortEntry[] | undefined;
  #aborted = false;
  #reason: unknown;

  get aborted(): boolean {
    return this.#aborted;
  }

  /** Undefined before it was aborted. */
  get reason(): unknown {
    return this.#reason;
  }

  /** The same for what takes a signal. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#aborted) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  throwIfAborted(): void {
    if (this.#aborted) throw this.#reason;
  }

  /** Tells all that joined, once. What one of them throws is thrown here, after the others were told. */
  abort(reason: unknown = new DOMException('This operation was aborted', 'AbortError')): void {
    if (this.#aborted) return;
    this.#aborted = true;
    this.#reason = thrown(reason);
    this.#controller?.abort(this.#reason);
    const errors: unknown[] = [];
    // One that an earlier callback took out is gone.
    for (let entry = this.#entries?.shift(); entry !== undefined; entry = this.#entries?.shift()) {
      try {
        entry.onAbort(this.#reason);
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw errors.length === 1 ? errors[0] : new AggregateError(errors);
  }

  /** Tells `entry` when it is aborted, unless it leaves before. The caller has checked that it is not aborted yet. */
  join(entry: AbortEntry): AbortGroup {
    if (this.#entries === undefined) this.#entries = [entry];
    else this.#entries.push(entry);
    return this;
  }

  leave(entry: AbortEntry): void {
    const at = this.#entries?.indexOf(entry) ?? -1;
    if (at >= 0) this.#entries?.splice(at, 1);
  }
}

/** Whether an error is what the call was ended with by its own caller, whatever it says: it tells nothing of what was called. */
export function isOwnEnd(
  error: unknown,
  {
    cancellation,
    signal,
  }: { readonly cancellation?: CallSignal | undefined; readonly signal?: AbortSignal | undefined },
): boolean {
  return [cancellation, signal].some((each) => each?.aborted === true && each.reason === error);
}

/** What may end a call: both say `aborted` and `reason`. */
export type CallSignal = AbortSignal | Cancellation;

/** For what takes a signal and nothing else. */
export function signalOf<S extends CallSignal | undefined>(signal: S): AbortSignal | Exclude<S, CallSignal> {
  return signal instanceof Cancellation ? signal.signal : (signal as AbortSignal | Exclude<S, CallSignal>);
}
