import { PoolkitError } from '../../core/errors.js';

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
export function errorFields(error: unknown, depth = 0): ErrorFields {
  if (!(error instanceof Error)) return { name: typeof error, message: String(error).slice(0, MAX_CHARS) };
  const { name, message, cause } = error;
  const code = (error as { readonly code?: unknown }).code;
  return {
    name,
    message: message.slice(0, MAX_CHARS),
    ...(typeof code === 'string' && { code }),
    ...(error instanceof PoolkitError && { retryable: error.retryable }),
    ...(cause !== undefined && depth < MAX_CAUSES && { cause: errorFields(cause, depth + 1) }),
  };
}
