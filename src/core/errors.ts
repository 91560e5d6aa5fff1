/**
 * Every error of the toolkit. The class tells the truth about a failed call: whether the upstream may have acted on it,
 * and whether calling again is safe. Decide by class or by `code`, never by the message.
 */

import { messageOf, printable, show } from './show.js';

export { messageOf, show };

/** Whether the upstream acted: `no` (never ran), `perhaps` (nobody can know), `answered` (it ran and said so). */
export type Acted = 'no' | 'perhaps' | 'answered';

/** What each code promises. `acted` is undefined for codes that are not about a call. */
export const ERROR_CODES = Object.freeze({
  ERR_CLOSED: { acted: 'no', retryable: false },
  ERR_OPTION: { acted: 'no', retryable: false },
  ERR_SERVER_NOT_FOUND: { acted: 'no', retryable: false },
  ERR_SERVER_STOPPED: { acted: 'no', retryable: false },
  ERR_UNAUTHORIZED: { acted: 'no', retryable: false },
  ERR_FORBIDDEN: { acted: 'no', retryable: false },
  ERR_QUEUE_FULL: { acted: 'no', retryable: true },
  ERR_ACQUIRE_TIMEOUT: { acted: 'no', retryable: true },
  ERR_START_FAILED: { acted: 'no', retryable: true },
  ERR_NOT_SENT: { acted: 'no', retryable: true },
  ERR_BACKING_OFF: { acted: 'no', retryable: true },
  ERR_CIRCUIT_OPEN: { acted: 'no', retryable: true },
  ERR_RATE_LIMITED: { acted: 'no', retryable: true },
  ERR_REQUEST_TIMEOUT: { acted: 'perhaps', retryable: false },
  ERR_OUTCOME_UNKNOWN: { acted: 'perhaps', retryable: false },
  ERR_UPSTREAM_BUSY: { acted: 'perhaps', retryable: false },
  ERR_PROTOCOL: { acted: 'perhaps', retryable: false },
  ERR_MESSAGE_TOO_LARGE: { acted: 'perhaps', retryable: false },
  ERR_RPC: { acted: 'answered', retryable: false },
  ERR_SHUTDOWN_TIMEOUT: { acted: undefined, retryable: false },
  ERR_STILL_ALIVE: { acted: undefined, retryable: false },
} as const satisfies Record<string, { acted: Acted | undefined; retryable: boolean }>);

export type ErrorCode = keyof typeof ERROR_CODES;

/** The root of every error the toolkit throws. */
export abstract class PoolkitError extends Error {
  readonly code: ErrorCode;
  /** True when the call provably never ran, so calling again cannot repeat it. One value per code. */
  readonly retryable: boolean;
  /** Whether the upstream may have acted on the call. */
  readonly acted: Acted | undefined;

  constructor(code: ErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = new.target.name;
    this.code = code;
    this.retryable = ERROR_CODES[code].retryable;
    this.acted = ERROR_CODES[code].acted;
  }

  /**
   * What `JSON.stringify` and any logger print: name, message, code and the fields of the class, bounded in depth and
   * length. Without a stack, so that it may be shown to a client; loggers that want the stack read it from the error.
   */
  toJSON(): Record<string, unknown> {
    const { name, message } = this;
    const { name: _, ...fields } = printable({ ...this }, 0) as Record<string, unknown>;
    return { name, message, ...fields, ...(this.cause === undefined ? {} : { cause: printable(this.cause, 1) }) };
  }
}

/** The part was closed, or closed while the caller waited. Nothing was sent. */
export class ClosedError extends PoolkitError {
  readonly what: string;
  constructor(what: string, cause?: unknown) {
    super('ERR_CLOSED', `${what} is closed`, cause);
    this.what = what;
  }
}

/** An option or argument is not what was expected. Names the option, the value and the range. */
export class OptionError extends PoolkitError {
  readonly option: string;
  readonly value: unknown;
  readonly expected: string;
  constructor(option: string, value: unknown, expected: string, cause?: unknown) {
    super('ERR_OPTION', `option ${option}: got ${show(value)}, expected ${expected}`, cause);
    this.option = option;
    this.value = value;
    this.expected = expected;
  }
}

/** No server of that name is registered. `near` lists the closest names that are. */
export class ServerNotFoundError extends PoolkitError {
  readonly server: string;
  readonly near: readonly string[];
  constructor(server: string, near: readonly string[] = []) {
    super(
      'ERR_SERVER_NOT_FOUND',
      `no server named ${show(server)}${near.length > 0 ? `; did you mean ${near.map(show).join(', ')}?` : ''}`,
    );
    this.server = server;
    this.near = near;
  }
}

/** The server was stopped on purpose and stays so until it is started again. */
export class ServerStoppedError extends PoolkitError {
  readonly server: string;
  constructor(server: string) {
    super('ERR_SERVER_STOPPED', `server ${show(server)} was stopped; start it again to use it`);
    this.server = server;
  }
}

/** The upstream answered 401 and the credentials hook had nothing better. */
export class UnauthorizedError extends PoolkitError {
  readonly server: string;
  /** The `WWW-Authenticate` header, when one came. */
  readonly challenge: string | undefined;
  constructor(server: string, challenge?: string, cause?: unknown) {
    super('ERR_UNAUTHORIZED', `server ${show(server)} wants other credentials (401)`, cause);
    this.server = server;
    this.challenge = challenge;
  }
}

/** The upstream answered 403. */
export class ForbiddenError extends PoolkitError {
  readonly server: string;
  readonly challenge: string | undefined;
  constructor(server: string, challenge?: string, cause?: unknown) {
    super('ERR_FORBIDDEN', `server ${show(server)} refuses these credentials (403)`, cause);
    this.server = server;
    this.challenge = challenge;
  }
}

/** A bounded queue was full when the caller came. */
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

export interface StartErrorDetail {
  readonly exitCode?: number | null | undefined;
  readonly signal?: string | null | undefined;
  /** The last lines the child wrote to stderr. */
  readonly stderr?: readonly string[] | undefined;
}

/** A server could not be started. `cause` is what went wrong; the child's own last words are in `stderr`. */
export class StartError extends PoolkitError {
  readonly server: string;
  readonly exitCode: number | null | undefined;
  readonly signal: string | null | undefined;
  readonly stderr: readonly string[];
  constructor(server: string, why: string, detail: StartErrorDetail = {}, cause?: unknown) {
    const last = detail.stderr?.at(-1);
    super('ERR_START_FAILED', `server ${show(server)} did not start: ${why}${last ? ` (stderr: ${last})` : ''}`, cause);
    this.server = server;
    this.exitCode = detail.exitCode;
    this.signal = detail.signal;
    this.stderr = detail.stderr ?? [];
  }
}

/** Not one byte of the call was handed to the wire, or its session refused it unread. */
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
      `${what}: rate limited (${source})${retryAfterMs === undefined ? '' : `; try again in ${Math.ceil(retryAfterMs)} ms`}`,
      cause,
    );
    this.what = what;
    this.source = source;
    this.retryAfterMs = retryAfterMs;
  }
}

/** The call was sent and not answered in time. It was cancelled; the connection is kept. */
export class RequestTimeoutError extends PoolkitError {
  readonly server: string;
  readonly method: string;
  readonly timeoutMs: number;
  constructor(server: string, method: string, timeoutMs: number) {
    super('ERR_REQUEST_TIMEOUT', `server ${show(server)} did not answer ${method} within ${timeoutMs} ms`);
    this.server = server;
    this.method = method;
    this.timeoutMs = timeoutMs;
  }
}

/** The wire died with the call in flight: it may have run, nobody can know. */
export class OutcomeUnknownError extends PoolkitError {
  readonly server: string;
  readonly method: string;
  /** The HTTP status, when one said so (502, 504). */
  readonly status: number | undefined;
  constructor(server: string, method: string, why: string, options: { status?: number; cause?: unknown } = {}) {
    super('ERR_OUTCOME_UNKNOWN', `server ${show(server)}: outcome of ${method} unknown: ${why}`, options.cause);
    this.server = server;
    this.method = method;
    this.status = options.status;
  }
}

/** The upstream answered 503. */
export class UpstreamBusyError extends PoolkitError {
  readonly server: string;
  readonly status: number;
  readonly retryAfterMs: number | undefined;
  constructor(server: string, status: number, retryAfterMs?: number, cause?: unknown) {
    const after = retryAfterMs === undefined ? '' : `; it asks to try again in ${retryAfterMs} ms`;
    super('ERR_UPSTREAM_BUSY', `server ${show(server)} is busy (${status})${after}`, cause);
    this.server = server;
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }
}

/** What came back is not the protocol. */
export class ProtocolError extends PoolkitError {
  readonly server: string;
  constructor(server: string, why: string, cause?: unknown) {
    super('ERR_PROTOCOL', `server ${show(server)}: ${why}`, cause);
    this.server = server;
  }
}

/** A message is over the cap. An `outgoing` one was not sent: the server did not act. */
export class MessageTooLargeError extends PoolkitError {
  readonly server: string;
  readonly direction: 'incoming' | 'outgoing';
  readonly bytes: number;
  readonly maxBytes: number;
  override readonly acted: Acted;
  constructor(server: string, direction: 'incoming' | 'outgoing', bytes: number, maxBytes: number) {
    super(
      'ERR_MESSAGE_TOO_LARGE',
      `server ${show(server)}: ${direction} message of ${bytes} bytes, ${maxBytes} allowed`,
    );
    this.server = server;
    this.direction = direction;
    this.bytes = bytes;
    this.maxBytes = maxBytes;
    this.acted = direction === 'outgoing' ? 'no' : 'perhaps';
  }
}

/** The server answered with a JSON-RPC error. It is an answer: the connection is healthy. `message` is the server's. */
export class RpcError extends PoolkitError {
  readonly server: string;
  /** The JSON-RPC error code. */
  readonly rpcCode: number;
  readonly data: unknown;
  constructor(server: string, rpcCode: number, message: string, data?: unknown) {
    super('ERR_RPC', message);
    this.server = server;
    this.rpcCode = rpcCode;
    this.data = data;
  }
}

/** Something was still running at its deadline and was abandoned. */
export class ShutdownTimeoutError extends PoolkitError {
  /** What did not end, by its name. */
  readonly what: string;
  readonly timeoutMs: number;
  constructor(what: string, timeoutMs: number) {
    super('ERR_SHUTDOWN_TIMEOUT', `${what} was still running after ${timeoutMs} ms and was abandoned`);
    this.what = what;
    this.timeoutMs = timeoutMs;
  }
}

/** A process outlived SIGKILL for `killProofMs`. */
export class StillAliveError extends PoolkitError {
  readonly pid: number;
  /** Its state as the system tells it, for example `D (uninterruptible sleep)`. */
  readonly state: string;
  constructor(pid: number, state: string, what = 'process') {
    super('ERR_STILL_ALIVE', `${what} ${pid} is still alive after SIGKILL, in state ${state}`);
    this.pid = pid;
    this.state = state;
  }
}
