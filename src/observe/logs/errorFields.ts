import { thrown } from '../../core/errors/thrown.js';
import { messageOf, PoolkitError } from '../../core/errors.js';

const MAX_CAUSES = 3;
const MAX_CHARS = 1_000;

export interface ErrorFields {
  readonly name: string;
  readonly message: string;
  readonly code?: string;
  readonly retryable?: boolean;
  readonly cause?: ErrorFields;
}

/**
 * An error as plain data, so that any logger prints it: most print an `Error` under another key than `err` as `{}`. What a class
 * carries besides, such as data of a server, is left out.
 */
export function errorFields(given: unknown, depth = 0): ErrorFields {
  const error = thrown(given);
  if (!(error instanceof Error)) return { name: typeof error, message: textOf(error).slice(0, MAX_CHARS) };
  const { name, cause } = error;
  const code = (error as { readonly code?: unknown }).code;
  return {
    name,
    message: messageOf(error).slice(0, MAX_CHARS),
    ...(typeof code === 'string' && { code }),
    ...(error instanceof PoolkitError && { retryable: error.retryable }),
    ...(cause !== undefined && depth < MAX_CAUSES && { cause: errorFields(cause, depth + 1) }),
  };
}

/** Not every object has a text. */
const textOf = (value: unknown): string => (typeof value === 'object' ? messageOf(value) : String(value));
