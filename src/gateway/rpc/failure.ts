import { PoolkitError, RpcError } from '../../core/errors.js';
import type { Logger } from '../../core/logger.js';

export const PARSE_ERROR = -32_700;
export const INVALID_REQUEST = -32_600;
export const METHOD_NOT_FOUND = -32_601;
export const INVALID_PARAMS = -32_602;
export const INTERNAL_ERROR = -32_603;

/** A JSON-RPC error object. */
export interface Failure {
  readonly code: number;
  readonly message: string;
  readonly data?: unknown;
}

/** The gateway's own refusal of a message that no server was asked about. */
export class Refusal extends Error {
  readonly failure: Failure;
  constructor(code: number, message: string, data?: unknown) {
    super(message);
    this.failure = { code, message, ...(data === undefined ? {} : { data }) };
  }
}

/**
 * What a client is told. A server's own error goes through as it came; a failure of ours is -32603 with its code in
 * `data.code` and whether calling again is safe. Anything else is logged and told without detail.
 */
export function failureOf(error: unknown, logger: Logger): Failure {
  if (error instanceof RpcError) {
    return { code: error.rpcCode, message: error.message, ...(error.data === undefined ? {} : { data: error.data }) };
  }
  if (error instanceof Refusal) return error.failure;
  if (error instanceof PoolkitError) {
    const { code, retryable } = error;
    const after = 'retryAfterMs' in error && typeof error.retryAfterMs === 'number' ? error.retryAfterMs : undefined;
    return {
      code: INTERNAL_ERROR,
      message: error.message,
      data: { code, retryable, ...(after === undefined ? {} : { retryAfterMs: after }) },
    };
  }
  logger.error({ error }, 'a request failed in an unexpected way');
  return { code: INTERNAL_ERROR, message: 'internal error' };
}
