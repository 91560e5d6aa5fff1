import { isForOne } from '../../../connection/calls/MiddlewareChain.js';
import { refusedBySession } from '../../../connection/http/refusedBySession.js';
import type { Params } from '../../../connection/protocol/messages.js';
import {
  AcquireTimeoutError,
  isServerFault,
  NotSentError,
  OutcomeUnknownError,
  RequestTimeoutError,
} from '../../../core/errors.js';
import { checkMs } from '../../../core/options.js';
import { matches } from '../../../core/text/matches.js';
import type { ServerSettings } from '../../../registry/config/ServerConfig.js';
import type { RequestOptions } from '../../McpPool.js';
import type { Traced } from './trace.js';

/** A call that other servers had before: it goes on, and does not begin anew. */
export interface Begun {
  readonly trace: Traced | undefined;
  readonly sends: number;
  /** What it would have ended with there. */
  readonly told?: unknown;
  /** What it takes of the limiter: none, or a permit that is free now. @defaultValue a permit in its turn */
  readonly permits?: 'none' | 'free';
}

/** The most sends of one call that never ran. */
export const MAX_SENDS = 3;

const LISTS = new Set(['tools/list', 'prompts/list', 'resources/list', 'resources/templates/list']);

/** Whether a call may be repeated though it may have run: it changes nothing, or its caller or the server's config says so. */
export function mayRepeat(
  method: string,
  params: Params | undefined,
  { idempotent }: Pick<RequestOptions, 'idempotent'>,
  { repeatable }: Pick<ServerSettings, 'repeatable'>,
): boolean {
  if (idempotent === true || method === 'ping' || method === 'server/discover') return true;
  if (method !== 'tools/call') return LISTS.has(method) && params?.['cursor'] === undefined;
  if (repeatable === undefined || isForOne(params)) return false;
  const tool = params?.['name'];
  return typeof tool === 'string' && repeatable.some((pattern) => matches(pattern, tool));
}

/**
 * Whether to send a failed call once more. In `shared` mode, when it provably never ran (`ERR_NOT_SENT`) and no session
 * refused it, or once after `ERR_OUTCOME_UNKNOWN` when it may be repeated. Else never: a session's state is gone with its connection.
 */
export function sendAgain(error: unknown, sends: number, shared: boolean, repeatable: boolean): boolean {
  if (!shared || sends >= MAX_SENDS) return false;
  if (error instanceof NotSentError) return !refusedBySession.has(error);
  return error instanceof OutcomeUnknownError && repeatable && sends === 1;
}

/**
 * What the breaker counts: the server or its connection failed. An answer, a refusal of ours or an abort does not count.
 * Of calls that were never sent, those count that found no server to connect to, which is their cause; a lost session
 * has none. Timeouts count only on request: one caller's short ones must not refuse all the others.
 */
export function isServerFailure(error: unknown, countTimeouts = false): boolean {
  return (
    (error instanceof NotSentError && error.cause !== undefined) ||
    isServerFault(error) ||
    (countTimeouts && error instanceof RequestTimeoutError)
  );
}

/** Time as one call may still spend it. */
export class Budget {
  /** Clock ms at which it is spent. */
  readonly untilMs: number;
  readonly #deadlineMs: number;

  /** `outer`: a wider budget, within which it stays. @throws OptionError */
  constructor(nowMs: number, deadlineMs: number, outer?: Budget) {
    checkMs('deadlineMs', deadlineMs, { infinity: true });
    const untilMs = nowMs + deadlineMs;
    const isOuter = outer !== undefined && outer.untilMs < untilMs;
    this.untilMs = isOuter ? outer.untilMs : untilMs;
    this.#deadlineMs = isOuter ? outer.#deadlineMs : deadlineMs;
  }

  /** `ms`, or what is left if that is less. @throws AcquireTimeoutError when nothing is left. */
  within(what: string, ms: number, nowMs: number): number {
    const leftMs = this.untilMs - nowMs;
    if (leftMs > 0) return Math.min(ms, leftMs);
    throw this.spent(what);
  }

  /** A call's options, with what is left. */
  rest(options: RequestOptions, nowMs: number): RequestOptions {
    return { ...options, deadlineMs: Math.max(0, this.untilMs - nowMs) };
  }

  spent(what: string): AcquireTimeoutError {
    const none = { live: 0, creating: 0, dying: 0, slots: 0, inUse: 0, waiting: 0 };
    return new AcquireTimeoutError(`server ${what}: the call's time`, this.#deadlineMs, none);
  }
}
