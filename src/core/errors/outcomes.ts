import { show } from '../show.js';
import { saidText } from './delays.js';
import { type Acted, PoolkitError } from './PoolkitError.js';

/** Errors of calls that were sent, and of what would not end. */

/** The call was sent and not answered in time. It was cancelled; the connection is kept. */
export class RequestTimeoutError extends PoolkitError {
  readonly server: string;
  readonly method: string;
  readonly timeoutMs: number;
  constructor(server: string, method: string, timeoutMs: number, but = '') {
    super('ERR_REQUEST_TIMEOUT', `server ${show(server)} did not answer ${method} within ${timeoutMs} ms${but}`);
    this.server = server;
    this.method = method;
    this.timeoutMs = timeoutMs;
  }
}

/** The connection was lost with the call in flight: it may have run, and it cannot be known. */
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
    const after = retryAfterMs === undefined ? '' : `; it asks to try again ${saidText(retryAfterMs)}`;
    super('ERR_UPSTREAM_BUSY', `server ${show(server)} is busy (${status})${after}`, cause);
    this.server = server;
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }
}

/** What came back is not the protocol. */
export class ProtocolError extends PoolkitError {
  readonly server: string;
  /** By HTTP: the status of an answer that is none of MCP. */
  readonly status: number | undefined;
  constructor(server: string, why: string, cause?: unknown, status?: number) {
    super('ERR_PROTOCOL', `server ${show(server)}: ${why}`, cause);
    this.server = server;
    this.status = status;
  }
}

/**
 * A message is over the cap, or there is no room for more of an `incoming` one: no fault of its server. An `outgoing` one was not sent: the
 * server did not act.
 */
export class MessageTooLargeError extends PoolkitError {
  readonly server: string;
  readonly direction: 'incoming' | 'outgoing';
  readonly bytes: number;
  readonly maxBytes: number;
  override readonly acted: Acted;
  /** `cause`: why there is no room for more of one that is not above its own bound. */
  constructor(server: string, direction: 'incoming' | 'outgoing', bytes: number, maxBytes: number, cause?: Error) {
    const much = cause === undefined ? `, ${maxBytes} allowed` : ` so far, no room for more: ${cause.message}`;
    super('ERR_MESSAGE_TOO_LARGE', `server ${show(server)}: ${direction} message of ${bytes} bytes${much}`, cause);
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
  /** The data's JSON as the server wrote it, where the call asked for bytes (`raw`). */
  readonly dataText: string | undefined;
  constructor(server: string, rpcCode: number, message: string, data?: unknown, dataText?: string) {
    super('ERR_RPC', message);
    this.server = server;
    this.rpcCode = rpcCode;
    this.data = data;
    this.dataText = dataText;
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
