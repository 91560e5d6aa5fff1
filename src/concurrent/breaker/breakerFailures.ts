import { type ErrorCode, PoolkitError } from '../../core/errors.js';

/** What the end of a call says about the health of what was called. `nothing`: it never got there, or was given up. */
export type Verdict = 'failure' | 'answer' | 'nothing';

const FAILURES: ReadonlySet<ErrorCode> = new Set([
  'ERR_OUTCOME_UNKNOWN',
  'ERR_UPSTREAM_BUSY',
  'ERR_PROTOCOL',
  'ERR_START_FAILED',
]);

const ANSWERS: ReadonlySet<ErrorCode> = new Set(['ERR_RPC', 'ERR_UNAUTHORIZED', 'ERR_FORBIDDEN']);

/**
 * The default verdict on an error. Failures: a lost connection, a connection that cannot be made (`ERR_NOT_SENT` with a
 * cause; a lost session has none), 5xx, broken protocol, failed starts, and every error that is not the toolkit's.
 * Answers: JSON-RPC errors, 401, 403. A timeout is a failure only when `countTimeouts` says so: one caller's short
 * timeouts must not refuse everybody else. Aborts and our own refusals say nothing.
 */
export function defaultVerdict(error: unknown, countTimeouts: boolean): Verdict {
  if (error instanceof PoolkitError) {
    if (FAILURES.has(error.code)) return 'failure';
    if (error.code === 'ERR_NOT_SENT') return error.cause === undefined ? 'nothing' : 'failure';
    if (error.code === 'ERR_REQUEST_TIMEOUT') return countTimeouts ? 'failure' : 'nothing';
    return ANSWERS.has(error.code) ? 'answer' : 'nothing';
  }
  const name = (error as { readonly name?: unknown } | null | undefined)?.name;
  if (name === 'AbortError') return 'nothing';
  if (name === 'TimeoutError') return countTimeouts ? 'failure' : 'nothing';
  return 'failure';
}
