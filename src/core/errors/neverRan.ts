import { PoolkitError } from './PoolkitError.js';

/** Whether an error says of its call that it never ran. */
export const neverRan = (error: unknown): boolean => error instanceof PoolkitError && error.acted === 'no';

/**
 * What a call that was tried more than once ends with: that its last attempt never ran does not say so of those before. Handed on as
 * `earlier` of the next attempt, it carries that past every later one, whichever part of the toolkit makes it.
 */
export const endOf = (earlier: unknown, error: unknown): unknown =>
  earlier !== undefined && neverRan(error) && !neverRan(earlier) ? earlier : error;
