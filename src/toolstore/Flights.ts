import type { CloseScope } from '../core/close/CloseScope.js';
import { ClosedError, show } from '../core/errors.js';
import { inTurnOrNow } from '../core/time/turns.js';
import { AbortHub } from '../core/wait/AbortHub.js';
import type { Key } from './keys.js';
import type { LoadContext, Loader, SetOptions } from './ToolStore.js';

export interface Loaded<T> {
  readonly value: T;
  readonly hints: SetOptions & { readonly store?: boolean };
  readonly standing: Standing;
}

/**
 * What may be done with a loaded value: keep it; keep it as outdated, since its server said meanwhile that it changed;
 * or only hand it over, since its key was set, deleted or forgotten meanwhile.
 */
export type Standing = 'current' | 'outdated' | 'void';

/** One loader on its way, and all who wait for it. */
class Flight<R> {
  readonly key: Key;
  readonly controller = new AbortController();
  readonly done: Promise<R>;
  resolve!: (result: R) => void;
  reject!: (error: unknown) => void;
  /** Callers who can still leave, plus one for ever once a caller is in that cannot. */
  waiting = 0;
  /** Once it is no longer the load of its key. */
  detached: Standing = 'void';

  constructor(key: Key) {
    this.key = key;
    this.done = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    // No caller waits for a background load.
    this.done.catch(() => undefined);
  }
}

/**
 * One loader per key, however many ask. A caller who aborts leaves at once; the loader's own signal aborts when the last
 * one has left. At the end of a close's grace every loader is aborted and given up, and its callers get `ClosedError`.
 */
export class Flights {
  readonly #scope: CloseScope;
  readonly #hub = new AbortHub();
  readonly #byMemo = new Map<string, Flight<unknown>>();
  readonly #all = new Set<Flight<unknown>>();
  loads = 0;
  failures = 0;

  constructor(scope: CloseScope) {
    this.#scope = scope;
  }

  get size(): number {
    return this.#all.size;
  }

  /** Whether a load of this key is on its way that a new caller would join. */
  has(memo: string): boolean {
    return this.#byMemo.has(memo);
  }

  /** The running load of the key, or a new one. `settle` makes the result of all callers out of the loader's value. */
  join<T, R>(
    key: Key,
    loader: Loader<T>,
    settle: (loaded: Loaded<T>) => R,
    signal: AbortSignal | undefined,
  ): Promise<R> {
    const flight = (this.#byMemo.get(key.memo) as Flight<R> | undefined) ?? this.#launch<T, R>(key, loader, settle);
    flight.waiting++;
    return this.orAbort(flight.done, signal, () => this.#leave(flight as Flight<unknown>));
  }

  #launch<T, R>(key: Key, loader: Loader<T>, settle: (loaded: Loaded<T>) => R): Flight<R> {
    const flight = new Flight<R>(key);
    const known = flight as Flight<unknown>;
    this.#byMemo.set(key.memo, known);
    this.#all.add(known);
    this.loads++;
    let hints: Loaded<T>['hints'] = {};
    const context: LoadContext = {
      signal: flight.controller.signal,
      hint: (more) => {
        hints = { ...hints, ...more };
      },
    };
    const land = (): Standing => {
      const current = this.#byMemo.get(key.memo) === known;
      if (current) this.#byMemo.delete(key.memo);
      this.#all.delete(known);
      return current ? 'current' : flight.detached;
    };
    const work = invoke(loader, context).then(
      // A large list is made into text and values here: of those that come together, each in a turn of its own.
      (value) =>
        inTurnOrNow(() => {
          // Given up at a close's deadline: its callers have their answer.
          if (!this.#all.has(known)) return;
          const standing = land();
          try {
            flight.resolve(settle({ value, hints, standing }));
          } catch (error) {
            this.failures++;
            flight.reject(error);
          }
        }),
      (error: unknown) => {
        this.failures++;
        land();
        flight.reject(error);
      },
    );
    void this.#scope.trackUser(`loader of ${show(key.name)}`, work);
    return flight;
  }

  #leave(flight: Flight<unknown>): void {
    if (--flight.waiting > 0) return;
    if (this.#byMemo.get(flight.key.memo) === flight) this.#byMemo.delete(flight.key.memo);
    flight.controller.abort();
  }

  /** `promise`, or the signal's reason as soon as it aborts. */
  orAbort<T>(promise: Promise<T>, signal: AbortSignal | undefined, onAbort?: () => void): Promise<T> {
    if (signal === undefined) return promise;
    if (signal.aborted) {
      onAbort?.();
      promise.catch(() => undefined);
      return Promise.reject(signal.reason);
    }
    return new Promise((resolve, reject) => {
      const watch = this.#hub.watch(signal, (reason) => {
        onAbort?.();
        reject(reason);
      });
      promise.then(resolve, reject).finally(() => watch[Symbol.dispose]());
    });
  }

  /** The loads of these keys go on for those who wait, but no caller joins them, and what they bring is `standing`. */
  detach(matches: (key: Key) => boolean, standing: 'outdated' | 'void' = 'void'): void {
    for (const flight of this.#all) {
      if (!matches(flight.key)) continue;
      const { memo } = flight.key;
      const current = this.#byMemo.get(memo) === flight;
      if (current) this.#byMemo.delete(memo);
      if (current || standing === 'void') flight.detached = standing;
    }
  }

  detachKey(memo: string): void {
    this.#byMemo.delete(memo);
  }

  /** Ends them all: aborted, and answered with `ClosedError`. */
  giveUp(): void {
    for (const flight of [...this.#all]) {
      this.#all.delete(flight);
      this.#byMemo.delete(flight.key.memo);
      const error = new ClosedError(this.#scope.name);
      flight.controller.abort(error);
      flight.reject(error);
    }
  }

  /** What closing waits for: settled when the load has landed. */
  inFlight(): Promise<unknown>[] {
    return [...this.#all].map(({ done }) => done.catch(() => undefined));
  }
}

async function invoke<T>(loader: Loader<T>, context: LoadContext): Promise<T> {
  return loader(context);
}
