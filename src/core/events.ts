import { isPromise } from './errors/thrown.js';

export type Listener<T> = (payload: T) => void;

/**
 * Calls a user's function that is told something. What it throws, or rejects with if it is an async one, goes to `failed`:
 * it is no failure of what tells, and it is never unhandled.
 */
export function tellListener<T>(listener: Listener<T>, payload: T, failed: (error: unknown) => void): void {
  try {
    isPromise(listener(payload), failed);
  } catch (error) {
    failed(error);
  }
}

/**
 * Typed events. A listener that throws or rejects disturbs neither the emitter nor the other listeners: its error goes
 * to `onListenerError`. A listener added or removed during an emit counts from the next one. One added twice is called
 * twice.
 */
export class Emitter<Events extends object> {
  readonly #listeners = new Map<keyof Events, readonly { readonly call: Listener<never> }[]>();
  readonly #onListenerError: (error: unknown, event: string) => void;

  constructor(onListenerError: (error: unknown, event: string) => void) {
    this.#onListenerError = onListenerError;
  }

  on<K extends keyof Events>(event: K, listener: Listener<Events[K]>): Disposable {
    const entry = { call: listener };
    this.#listeners.set(event, [...(this.#listeners.get(event) ?? []), entry]);
    return {
      [Symbol.dispose]: () => {
        const kept = this.#listeners.get(event)?.filter((each) => each !== entry) ?? [];
        if (kept.length > 0) this.#listeners.set(event, kept);
        else this.#listeners.delete(event);
      },
    };
  }

  /** Calls the listeners in the order they were added; true when there was one. */
  emit<K extends keyof Events>(event: K, payload: Events[K]): boolean {
    const listeners = this.#listeners.get(event) as readonly { readonly call: Listener<Events[K]> }[] | undefined;
    if (listeners === undefined) return false;
    for (const { call } of listeners) {
      tellListener(call, payload, (error) => this.#onListenerError(error, String(event)));
    }
    return true;
  }

  listenerCount(event: keyof Events): number {
    return this.#listeners.get(event)?.length ?? 0;
  }

  /** Forgets every listener. */
  clear(): void {
    this.#listeners.clear();
  }
}
