import type { Params } from './messages.js';

/**
 * What a peer's value says as an object; nothing where it is none. To be used where a value of any type is spread or walked: a text
 * would become an object with a member for each of its letters, millions of them.
 */
export const objectOf = (value: unknown): Params => (isObject(value) ? value : {});

export const isObject = (value: unknown): value is Params =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
