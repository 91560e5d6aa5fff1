import type { BalancerPick } from '../concurrent/balance/Balancer.js';
import { type Caller, callerName } from '../connection/calls/Caller.js';
import { methodNotFound } from '../connection/channel/ServerRequests.js';
import type { CallOptions, Params, RequestHandler } from '../connection/protocol/messages.js';
import type { Clock } from '../core/clock.js';
import {
  BackingOffError,
  CircuitOpenError,
  ClosedError,
  isOfRequest,
  isServerFault,
  isVote,
  NotSentError,
  PoolkitError,
  QueueFullError,
  RateLimitedError,
  RequestTimeoutError,
  RpcError,
  ServerStoppedError,
  StartError,
} from '../core/errors.js';
import { isOwnEnd } from '../core/wait/Cancellation.js';
import type { Sharing } from '../registry/config/ServerConfig.js';
import type { Stickiness } from './Stickiness.js';
import type { RoutedServer, Target } from './Target.js';
import type { TargetTable } from './TargetTable.js';

/** What routes calls runs by. */
export interface RouterOptions<S extends RoutedServer> {
  readonly server: string;
  readonly sharing: Sharing;
  /** Longest start of each target. */
  readonly startTimeoutMs: number;
  readonly targets: TargetTable<S>;
  readonly sticky: Stickiness<S>;
  /** The caller as the targets see it. */
  readonly plain: (caller: Caller | undefined) => Caller | undefined;
  readonly clock: Clock;
  /** From 0 to 1, as `Math.random`. */
  readonly random: () => number;
  /** The target that keeps the caller's session cannot be reached, and others can: the session begins anew elsewhere. */
  readonly onLost: (target: Target<S>, caller: Caller | undefined) => void;
  /** Copies of calls end when it aborts. */
  readonly closing: AbortSignal;
}

/** What routing reads of a call's options. */
export interface RoutedOptions extends CallOptions {
  readonly caller?: Caller;
  readonly idempotent?: boolean;
  readonly deadlineMs?: number;
  readonly acquireTimeoutMs?: number;
}

/** One call on its way to some target. */
export interface RoutedCall<S, O extends RoutedOptions> {
  readonly method: string;
  readonly params: Params | undefined;
  readonly options: O;
  /** Whether it may run twice: it changes nothing, or its caller says so. */
  readonly repeatable: boolean;
  /** Sends it to one target's server. `as`: to one whose end no caller is to feel. */
  readonly send: (server: S, options: O, as?: 'mirror' | 'canary') => Promise<unknown>;
  /** An attempt failed, and another follows. */
  readonly onRetry: (error: unknown) => void;
}

/** An attempt beside the call's own, of which its client hears nothing. */
export interface Aside<O> {
  readonly options: O;
  /** The result, unless its server asked the client before. */
  readonly taken: (result: unknown) => unknown;
}

/** A client is asked by one target alone: another that asks is refused, and what it answers then is no answer. Nothing of the call is kept. */
export function aside<O extends RoutedOptions>(server: string, options: O, signal: AbortSignal): Aside<O> {
  const { onProgress: _, onNotification: __, onRequest, ...quiet } = options;
  let asked = false;
  const refuse: RequestHandler = async ({ method }) => {
    asked = true;
    throw methodNotFound(server, method);
  };
  return {
    options: { ...quiet, signal, ...(onRequest && { onRequest: refuse }) } as unknown as O,
    taken: (result) => {
      if (asked) throw new Error('its server asked the client, whom another one may ask');
      return result;
    },
  };
}

/**
 * Whether a failed call may go to another target. `unreached`: nothing of it came to a server, whatever the session. `unsent`: it
 * never ran, but a connection was there. `refused`: a server asked to be left alone. `unknown`: it may have run, and only what
 * may be repeated is sent again. `stands`: its failure is its answer.
 */
export type Failure = 'unreached' | 'unsent' | 'refused' | 'unknown' | 'stands';

export function failureOf(error: unknown): Failure {
  if (!(error instanceof PoolkitError)) return 'stands';
  if (error instanceof NotSentError) return 'unsent';
  if (
    error instanceof StartError ||
    error instanceof BackingOffError ||
    error instanceof CircuitOpenError ||
    error instanceof QueueFullError ||
    error instanceof ClosedError ||
    error instanceof ServerStoppedError
  ) {
    return 'unreached';
  }
  if (error instanceof RateLimitedError) return error.source === 'upstream' ? 'refused' : 'stands';
  return isServerFault(error) ? 'unknown' : 'stands';
}

/**
 * What a failed call says of its target: an error of the protocol, or a status that speaks of the request, is an answer, though none by whose
 * time it is judged; an abort or a refusal says nothing (`Refusals` has it). What one caller brought about, with a short time or with credentials that fail, must not cost all others a target.
 */
export function verdictOf(
  error: unknown,
  { timeoutMs, deadlineMs, ...ends }: RoutedOptions,
): 'rejected' | 'failed' | 'abandoned' {
  if (isOwnEnd(error, ends)) return 'abandoned';
  if (error instanceof RpcError || isOfRequest(error)) return 'rejected';
  if (error instanceof RequestTimeoutError) return (timeoutMs ?? deadlineMs) === undefined ? 'failed' : 'abandoned';
  if (
    error instanceof BackingOffError ||
    error instanceof CircuitOpenError ||
    error instanceof QueueFullError ||
    error instanceof ClosedError ||
    error instanceof ServerStoppedError
  ) {
    return 'abandoned';
  }
  const failure = failureOf(error);
  return failure === 'stands' || failure === 'refused' ? 'abandoned' : 'failed';
}

/**
 * Ends the pick of a call that failed. A failure that its caller may have brought about alone is a vote, and the voter is returned; of a
 * caller without a name, which is the program itself, each failure counts in full.
 */
export function endFailed<T>(
  pick: BalancerPick<T> | undefined,
  error: unknown,
  options: RoutedOptions,
): string | undefined {
  const verdict = verdictOf(error, options);
  const caller = callerName(options.caller);
  if (verdict === 'rejected') pick?.rejected(caller);
  if (verdict === 'abandoned') pick?.abandoned();
  if (verdict !== 'failed') return undefined;
  const voter = isVote(error) || error instanceof RequestTimeoutError ? caller : undefined;
  pick?.failed(voter);
  return voter;
}
