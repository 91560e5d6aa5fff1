import { beforeEach } from 'vitest';
import { type CloseHooks, CloseScope } from '../../../src/core/close/CloseScope.js';
import { silentLogger } from '../../../src/core/logger.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';

/** What the tests of CloseScope share. */

export let clock: FakeClock;
export let done: string[];
export let logged: unknown[];

/** Fresh before each test of the file that calls it: this module itself is loaded once for several files. */
export function freshBeforeEach(): void {
  beforeEach(() => {
    clock = new FakeClock();
    done = [];
    logged = [];
  });
}

const error = (fields: object | string): void => void logged.push(fields);
export const scopeOf = (hooks: CloseHooks = {}) =>
  new CloseScope('pool a', { clock, logger: { ...silentLogger, error }, ...hooks });
export const never = new Promise<never>(() => undefined);
export const note = (what: string) => () => void done.push(`${what}@${clock.now()}`);
export const after = (ms: number) => new Promise<void>((resolve) => void clock.setTimer(resolve, ms));

/** Closes, lets 10 s pass, and gives what the close failed with. */
export async function failuresOf(closing: Promise<void>): Promise<readonly unknown[]> {
  const failed = closing.then(
    () => [],
    (thrown: AggregateError) => thrown.errors as unknown[],
  );
  await clock.advance(10_000);
  return failed;
}

export const endedAt = (closing: Promise<void>) => closing.then(note('closed'), note('failed'));

export function fail(): never {
  throw new Error('from a hook');
}

export async function reject(): Promise<never> {
  return fail();
}
