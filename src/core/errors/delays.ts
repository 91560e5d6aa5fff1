import { messageOf, show } from '../show.js';
import { lastWords, plainText } from './lastWords.js';
import { PoolkitError } from './PoolkitError.js';

/** Errors of calls that never ran, and that may be made again later. */

/** A bounded queue was full when the caller asked. */
export class QueueFullError extends PoolkitError {
  readonly what: string;
  readonly waiting: number;
  readonly max: number;
  constructor(what: string, waiting: number, max: number) {
    super('ERR_QUEUE_FULL', `${what}: ${waiting} are waiting, ${max} may`);
    this.what = what;
    this.waiting = waiting;
    this.max = max;
  }
}

/** Why nothing could be had in time. Counts are of the moment of the timeout. */
export interface AcquireTimeoutDetail {
  readonly live: number;
  readonly creating: number;
  readonly dying: number;
  /** Slots over all live resources. */
  readonly slots: number;
  readonly inUse: number;
  readonly waiting: number;
  /** Age in ms of the lease that has been out longest; undefined when none is out. */
  readonly oldestLeaseAgeMs?: number | undefined;
  /** The stack that took it, when leases are traced. */
  readonly oldestLeaseStack?: string | undefined;
  readonly lastCreateError?: unknown;
}

/** Waited `timeoutMs` in a queue; the call never left it. */
export class AcquireTimeoutError extends PoolkitError {
  readonly what: string;
  readonly timeoutMs: number;
  readonly detail: AcquireTimeoutDetail;
  constructor(what: string, timeoutMs: number, detail: AcquireTimeoutDetail) {
    const oldest =
      detail.oldestLeaseAgeMs === undefined ? '' : `, oldest lease ${Math.round(detail.oldestLeaseAgeMs)} ms`;
    const failed =
      detail.lastCreateError === undefined ? '' : `, last create error: ${messageOf(detail.lastCreateError)}`;
    super(
      'ERR_ACQUIRE_TIMEOUT',
      `${what}: nothing free within ${timeoutMs} ms (${detail.inUse} of ${detail.slots} slots in use, ` +
        `${detail.live} live, ${detail.creating} creating, ${detail.dying} dying, ${detail.waiting} waiting${oldest}${failed})`,
      detail.lastCreateError,
    );
    this.what = what;
    this.timeoutMs = timeoutMs;
    this.detail = detail;
  }
}

/** Errors of calls that waited for a new session of their server: another server may be asked in its place. */
export const sessionAwaited = new WeakSet<object>();

export interface StartErrorDetail {
  readonly exitCode?: number | null | undefined;
  readonly signal?: string | null | undefined;
  /** The last lines the child wrote to stderr. */
  readonly stderr?: readonly string[] | undefined;
  /** The first line of its stdout that was no message: what a program says that is no server over stdio. */
  readonly stdout?: string | undefined;
}

/** A server could not be started. `cause` is what went wrong; the child's own last words are in `stderr`. */
export class StartError extends PoolkitError {
  readonly server: string;
  readonly exitCode: number | null | undefined;
  readonly signal: string | null | undefined;
  readonly stderr: readonly string[];
  readonly stdout: string | undefined;
  constructor(server: string, why: string, detail: StartErrorDetail = {}, cause?: unknown) {
    const { stdout } = detail;
    const last = lastWords(detail.stderr ?? []);
    const said = [stdout && `stdout: ${plainText(stdout)}`, last && `stderr: ${last}`].filter(Boolean).join('; ');
    const named = `server ${show(server)}`;
    // Reasons that are errors of the same server name it again, each attempt anew.
    const reason = why.replaceAll(`${named} did not start: `, '').replaceAll(`${named}: `, '');
    super('ERR_START_FAILED', `${named} did not start: ${reason}${said === '' ? '' : ` (${said})`}`, cause);
    this.server = server;
    this.exitCode = detail.exitCode;
    this.signal = detail.signal;
    this.stderr = detail.stderr ?? [];
    this.stdout = stdout;
  }
}

/**
 * A resource of a pool could not be created (ERR_START_FAILED): nothing was done with it, so calling again is safe.
 * `cause` is what `create` threw; it is undefined when `create` took longer than `createTimeoutMs`.
 */
export class CreateError extends StartError {
  constructor(pool: string, why: string, cause?: unknown) {
    super(pool, why, {}, cause);
    this.message = `${pool}: ${why}${cause === undefined ? '' : `: ${messageOf(cause)}`}`;
  }

  /** What `create` threw, as an error of the toolkit; one that already is stays as it is. */
  static of(pool: string, thrown: unknown): PoolkitError {
    return thrown instanceof PoolkitError ? thrown : new CreateError(pool, 'create failed', thrown);
  }
}

/** No byte of the call was written to the transport, or its session refused it unread. */
export class NotSentError extends PoolkitError {
  readonly server: string;
  constructor(server: string, why: string, cause?: unknown) {
    super('ERR_NOT_SENT', `server ${show(server)}: the call was not sent: ${why}`, cause);
    this.server = server;
  }
}

/** The server failed to start, or died early again, and rests before its next start. `cause` is what it failed with. */
export class BackingOffError extends PoolkitError {
  readonly server: string;
  readonly retryAfterMs: number;
  constructor(server: string, retryAfterMs: number, cause?: unknown) {
    const why = cause === undefined ? '' : `: ${messageOf(cause)}`;
    super('ERR_BACKING_OFF', `server ${show(server)} is started again in ${Math.ceil(retryAfterMs)} ms${why}`, cause);
    this.server = server;
    this.retryAfterMs = retryAfterMs;
  }
}

/** The breaker is open. */
export class CircuitOpenError extends PoolkitError {
  readonly server: string;
  readonly retryAfterMs: number;
  constructor(server: string, retryAfterMs: number, cause?: unknown) {
    super('ERR_CIRCUIT_OPEN', `server ${show(server)} keeps failing; next try in ${Math.ceil(retryAfterMs)} ms`, cause);
    this.server = server;
    this.retryAfterMs = retryAfterMs;
  }
}

/** A limit refuses the call: our own (`local`) or the upstream's 429 (`upstream`). */
export class RateLimitedError extends PoolkitError {
  readonly what: string;
  readonly source: 'local' | 'upstream';
  /** Milliseconds until a call of this weight can pass; undefined when the upstream did not say. */
  readonly retryAfterMs: number | undefined;
  constructor(what: string, source: 'local' | 'upstream', retryAfterMs: number | undefined, cause?: unknown) {
    super(
      'ERR_RATE_LIMITED',
      `${what}: rate limited (${source})${retryAfterMs === undefined ? '' : `; try again ${source === 'upstream' ? saidText(retryAfterMs) : `in ${Math.ceil(retryAfterMs)} ms`}`}`,
      cause,
    );
    this.what = what;
    this.source = source;
    this.retryAfterMs = retryAfterMs;
  }
}

/** When a server asks to be called again. It may say anything: beyond a minute the number would help no one. */
export const saidText = (retryAfterMs: number): string =>
  retryAfterMs > 60_000 ? 'in more than a minute' : `in ${Math.ceil(retryAfterMs)} ms`;
