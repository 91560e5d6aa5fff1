import { syncBuiltinESMExports } from 'node:module';
import timersModule from 'node:timers';
import timersPromises from 'node:timers/promises';
import { promisify } from 'node:util';

/** A timer as Node has it, or what stands for one. */
export interface LedgerEntry {
  /** Node's own mark: true once fired or cleared. */
  readonly _destroyed: boolean;
}

const LEDGER = Symbol.for('mcp-poolkit.timerLedger');

/**
 * Every timer armed since the ledger was opened; the error holds the stack that armed it, put into words on demand. One for all copies of this
 * module in the process: a second one around the same functions would tell each timer twice, by its own lines.
 */
const shared = globalThis as { [LEDGER]?: Map<LedgerEntry, Error> };

/** Timers of a process between two looks for those that are over, at least: the stack of each holds what stood in its frames. */
const MIN_LOOK = 64;
let nextLook = MIN_LOOK;

/**
 * From now on records every `setTimeout` and `setInterval` of this process: the global ones, those of `node:timers`, and
 * the `setTimeout` of `node:timers/promises`, also when it is had by `promisify`. Not seen: what was taken into a
 * variable before, and a timer that has fired and is armed again by `refresh()`. Idempotent.
 */
export function openTimerLedger(): void {
  if (shared[LEDGER] !== undefined) return;
  shared[LEDGER] = new Map();
  globalThis.setTimeout = recording(globalThis.setTimeout);
  globalThis.setInterval = recording(globalThis.setInterval);
  timersModule.setTimeout = recording(timersModule.setTimeout);
  timersModule.setInterval = recording(timersModule.setInterval);
  timersPromises.setTimeout = recordingPromise(timersPromises.setTimeout);
  syncBuiltinESMExports();
}

/** Forgets the timers that have fired or were cleared, and gives the rest. */
export function liveTimers(): ReadonlyMap<LedgerEntry, Error> {
  const ledger = shared[LEDGER] ?? new Map<LedgerEntry, Error>();
  for (const timer of ledger.keys()) if (timer._destroyed) ledger.delete(timer);
  return ledger;
}

function record(timer: LedgerEntry): void {
  const ledger = shared[LEDGER];
  ledger?.set(timer, new Error('armed'));
  if (ledger !== undefined && ledger.size >= nextLook) nextLook = Math.max(MIN_LOOK, 2 * liveTimers().size);
}

function recording<F extends typeof setTimeout | typeof setInterval>(original: F): F {
  return new Proxy(original, {
    apply(target, self, args: unknown[]) {
      const timer = Reflect.apply(target as (...args: unknown[]) => unknown, self, args) as LedgerEntry;
      record(timer);
      return timer;
    },
    get(target, key, receiver) {
      const value: unknown = Reflect.get(target, key, receiver);
      return key === promisify.custom && value !== undefined ? timersPromises.setTimeout : value;
    },
  });
}

function recordingPromise<F extends typeof timersPromises.setTimeout>(original: F): F {
  return new Proxy(original, {
    apply(target, self, args: unknown[]) {
      const promise = Reflect.apply(target as (...args: unknown[]) => unknown, self, args) as Promise<unknown>;
      const entry = { _destroyed: false };
      const done = (): void => {
        entry._destroyed = true;
      };
      promise.then(done, done);
      record(entry);
      return promise;
    },
  });
}
