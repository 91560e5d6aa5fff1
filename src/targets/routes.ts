import type { BalancerPick } from '../concurrent/balance/pick/BalancerPick.js';
import { type Caller, callerName } from '../connection/calls/Caller.js';
import { isToolError } from '../connection/calls/toolError.js';
import { membersOf, skipSpace, skipValue } from '../connection/channel/codec/members.js';
import { methodNotFound } from '../connection/channel/ServerRequests.js';
import { type CallOptions, LIST_METHODS, type Params, type RequestHandler } from '../connection/protocol/messages.js';
import { isObject } from '../connection/protocol/objectOf.js';
import type { Clock } from '../core/clock.js';
import {
  AcquireTimeoutError,
  BackingOffError,
  CircuitOpenError,
  ClosedError,
  confirmAlive,
  isOfRequest,
  isServerFault,
  isVote,
  NotSentError,
  PoolkitError,
  ProtocolError,
  QueueFullError,
  RateLimitedError,
  RequestTimeoutError,
  RpcError,
  ServerStoppedError,
  StartError,
  sessionAwaited,
} from '../core/errors.js';
import { utf8Text } from '../core/text/utf8Text.js';
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

/** Whether a target was not there in time, and another one may be: `yields` where it was to start, else it replaces its session. */
export const isLate = (error: unknown, yields: boolean): boolean =>
  sessionAwaited.has(error as object) || (yields && error instanceof AcquireTimeoutError);

/** What a router has counted. */
export interface RouterCounts {
  /** Attempts on another target after one that failed. */
  readonly retries: number;
  /** Retries and hedges that the budget refused. */
  readonly refusedRetries: number;
  readonly hedges: number;
  /** Hedges that answered first. */
  readonly hedgesWon: number;
}

/**
 * What a failed call says of its target: an error of the protocol, or a status that speaks of the request, is an answer, though none by whose
 * time it is judged; a refusal says nothing (`Refusals` has it). What one caller brought about, with credentials that fail, must not cost all others a target; what it gave up, by an abort or
 * by a time of its own, says for how long it had no answer.
 */
export function verdictOf(
  error: unknown,
  { timeoutMs, deadlineMs, ...ends }: RoutedOptions,
): 'rejected' | 'failed' | 'gaveUp' | 'abandoned' {
  if (isOwnEnd(error, ends)) return 'gaveUp';
  if (error instanceof RpcError || isOfRequest(error)) return 'rejected';
  if (error instanceof RequestTimeoutError) return (timeoutMs ?? deadlineMs) === undefined ? 'failed' : 'gaveUp';
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

/** A longer list is believed. */
const MAX_LIST_BYTES = 1_024 * 1_024;
const OPEN_BRACE = 0x7b;

/** The member in which a method's result has its list. */
const ITEMS: ReadonlyMap<string, string> = new Map(
  Object.entries(LIST_METHODS).map(([kind, method]) => [method, kind]),
);

/** Their results say nothing: what stands in the place of `{}`, as PHP writes `[]`, shows no failure. */
const SAYING_NOTHING: ReadonlySet<string> = new Set([
  'ping',
  'logging/setLevel',
  'resources/subscribe',
  'resources/unsubscribe',
]);

/** Why what a server answered is no result of the method, where it is none: it is no object, or lists nothing. Of a large list that is not looked at. */
export function resultProblem(method: string, result: unknown): string | undefined {
  if (SAYING_NOTHING.has(method)) return undefined;
  const raw = result instanceof Uint8Array;
  if (raw ? result[0] !== OPEN_BRACE : !isObject(result)) return `its result of ${method} is no object`;
  const kind = ITEMS.get(method);
  if (kind === undefined) return undefined;
  return (raw ? listsBytes(result, kind) : listsValues((result as Readonly<Record<string, unknown>>)[kind]))
    ? undefined
    : `its ${method} has no array of ${kind}`;
}

/** Whether it is an array that is empty or has an object: what else stands in it is left out where it is read, and takes nothing with it. */
const listsValues = (items: unknown): boolean => Array.isArray(items) && (items.length === 0 || items.some(isObject));

function listsBytes(result: Uint8Array, kind: string): boolean {
  if (result.length > MAX_LIST_BYTES) return true;
  const text = utf8Text(Buffer.from(result.buffer, result.byteOffset, result.byteLength));
  const members = membersOf(text);
  if (members === undefined) return true;
  const start = members.find(({ key }) => key === kind)?.valueStart;
  if (start === undefined || text[start] !== '[') return false;
  const first = skipSpace(text, start + 1);
  for (let at = first; text[at] !== '{'; at = skipSpace(text, at + 1)) {
    at = skipSpace(text, at === first && text[at] === ']' ? at : skipValue(text, at));
    if (text[at] !== ',') return at === first;
  }
  return true;
}

/** @throws ProtocolError for what is no result of the method, which is a vote of the caller: its server wrote it */
export function checkResult(server: string, method: string, result: unknown): void {
  const problem = resultProblem(method, result);
  if (problem === undefined) return;
  const error = new ProtocolError(server, problem);
  confirmAlive(error);
  throw error;
}

/** Ends the pick of a call that was answered: that a tool failed says nothing of how long its results take. */
export function endAnswered<T>(
  pick: BalancerPick<T> | undefined,
  method: string,
  result: unknown,
  { caller }: RoutedOptions,
): void {
  if (method === 'tools/call' && isToolError(result)) pick?.rejected(callerName(caller));
  else pick?.succeeded(callerName(caller));
}

/** Who has to do with a failure of a target. */
export interface Blame {
  /** The caller whose vote against the target it is. */
  readonly voter: string | undefined;
  /** For how long the call had no answer, in ms, where it was given up far later than is usual; else 0. */
  readonly lateMs: number;
}

const NO_ONE: Blame = Object.freeze({ voter: undefined, lateMs: 0 });

/**
 * Ends the pick of a call that failed. A failure that its caller may have brought about alone is a vote; of a caller without a name, which is
 * the program itself, each failure counts in full.
 */
export function endFailed<T>(pick: BalancerPick<T> | undefined, error: unknown, options: RoutedOptions): Blame {
  const verdict = verdictOf(error, options);
  const caller = callerName(options.caller);
  if (verdict === 'rejected') pick?.rejected(caller);
  if (verdict === 'abandoned') pick?.abandoned();
  if (verdict === 'gaveUp') return { voter: undefined, lateMs: pick?.gaveUp(caller) ?? 0 };
  if (verdict !== 'failed') return NO_ONE;
  const voter = isVote(error) || error instanceof RequestTimeoutError ? caller : undefined;
  pick?.failed(voter);
  return { voter, lateMs: 0 };
}
