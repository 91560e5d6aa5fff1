import { AbortHub } from './AbortHub.js';

interface Flight<T> {
  readonly promise: Promise<T>;
  readonly controller: AbortController;
  /** Callers who can still leave, and each who cannot, for ever. */
  waiting: number;
  /** Has those leave who joined it, and can. */
  readonly joined: Set<(reason: unknown) => void>;
}

/**
 * One run per key, however many ask for it (Go's singleflight). A caller that aborts leaves at once with its signal's
 * reason; when the last one has left, the run's own signal aborts and the key is free again.
 */
export class SingleFlight<K = string> {
  readonly #flights = new Map<K, Flight<unknown>>();
  readonly #hub = new AbortHub();

  /** Keys with a run under way that a new caller would join. */
  get size(): number {
    return this.#flights.size;
  }

  has(key: K): boolean {
    return this.#flights.has(key);
  }

  /** The run under way for the key, or a new one. All callers settle alike, but for those who abort. */
  run<T>(key: K, work: (signal: AbortSignal) => Promise<T>, signal?: AbortSignal): Promise<T> {
    if (signal?.aborted === true) return Promise.reject(signal.reason);
    const known = this.#flights.get(key) as Flight<T> | undefined;
    const flight = known ?? this.#start(key, work);
    flight.waiting++;
    if (signal === undefined) return flight.promise;
    return new Promise((resolve, reject) => {
      const leave = (reason: unknown): void => {
        release();
        this.#leave(key, flight as Flight<unknown>);
        reject(reason);
      };
      const watch = this.#hub.watch(signal, leave);
      const release = (): void => {
        watch[Symbol.dispose]();
        flight.joined.delete(leave);
      };
      if (known !== undefined) flight.joined.add(leave);
      flight.promise.then(
        (value) => {
          release();
          resolve(value);
        },
        (error: unknown) => {
          release();
          reject(error);
        },
      );
    });
  }

  /** The next caller of the key starts a run of its own; those who wait for the present one go on waiting. */
  forget(key: K): void {
    this.#flights.delete(key);
  }

  /** Of every run only who began it goes on with it: those who joined with a signal leave with `reason`, and its key is free. */
  split(reason: unknown): void {
    const flights = [...this.#flights.values()];
    this.#flights.clear();
    for (const { joined } of flights) for (const leave of [...joined]) leave(reason);
  }

  #start<T>(key: K, work: (signal: AbortSignal) => Promise<T>): Flight<T> {
    const controller = new AbortController();
    const free = (): void => {
      if (this.#flights.get(key) === flight) this.#flights.delete(key);
    };
    const promise = (async () => work(controller.signal))().finally(free);
    // Every caller may have left by the time it rejects.
    promise.catch(() => undefined);
    const flight: Flight<T> = { promise, controller, waiting: 0, joined: new Set() };
    this.#flights.set(key, flight as Flight<unknown>);
    return flight;
  }

  #leave(key: K, flight: Flight<unknown>): void {
    if (--flight.waiting > 0) return;
    if (this.#flights.get(key) === flight) this.#flights.delete(key);
    flight.controller.abort();
  }
}
