import { printable } from '../show.js';

/** Whether the upstream acted: `no` (never ran), `perhaps` (it cannot be known), `answered` (it ran and said so). */
export type Acted = 'no' | 'perhaps' | 'answered';

/** What each code promises. `acted` is undefined for codes that are not about a call. */
export const ERROR_CODES = Object.freeze({
  ERR_CLOSED: { acted: 'no', retryable: false },
  ERR_OPTION: { acted: 'no', retryable: false },
  ERR_SERVER_NOT_FOUND: { acted: 'no', retryable: false },
  ERR_SERVER_STOPPED: { acted: 'no', retryable: false },
  ERR_UNAUTHORIZED: { acted: 'no', retryable: false },
  ERR_SIGN_IN: { acted: 'no', retryable: false },
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
