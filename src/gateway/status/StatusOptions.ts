import type { IncomingMessage } from 'node:http';
import { OptionError } from '../../core/errors.js';
import { checkBoolean, checkFunction, withDefaults } from '../../core/options.js';
import type { LimiterFigures } from '../../observe/instrumentOptions.js';

export interface StatusOptions {
  /**
   * Whether a request may see the page, its data and `/metrics`; `false` or a promise of it is answered 401. Asked for every
   * request of them. @defaultValue none: on loopback every request may that asks for this machine by its own name (`localhost`); elsewhere, and where the gateway has `authenticate`, there is no page
   */
  readonly authenticate?: (request: IncomingMessage) => unknown;
  /** Whether the page can cancel calls, restart and stop servers, and try tools. @defaultValue true */
  readonly actions?: boolean;
  /** Whether `/metrics` answers Prometheus. @defaultValue false */
  readonly metrics?: boolean;
  /** Whether there is a page at `/status`. @defaultValue true */
  readonly page?: boolean;
  /** The pool's limiters, whose waiting calls and pauses `/metrics` tells. Lent. @defaultValue none */
  readonly limiter?: LimiterFigures;
}

export const STATUS_DEFAULTS = Object.freeze({ actions: true, metrics: false, page: true });

export interface CheckedStatus {
  readonly authenticate: ((request: IncomingMessage) => unknown) | undefined;
  readonly actions: boolean;
  readonly metrics: boolean;
  readonly page: boolean;
  readonly limiter: LimiterFigures | undefined;
}

/**
 * Undefined when there is neither page nor metrics: the default where it is not `open`, which is on loopback without users.
 * @throws OptionError, also when the page is asked for where anyone could reach it
 */
export function checkStatusOptions(
  status: boolean | StatusOptions | undefined,
  open: boolean,
): CheckedStatus | undefined {
  if (status === false || (status === undefined && !open)) return undefined;
  if (typeof status !== 'object' && status !== true && status !== undefined) {
    throw new OptionError('status', status, 'true, false, or options of the page');
  }
  const given = typeof status === 'object' ? status : {};
  const all = withDefaults('Gateway.status', given, STATUS_DEFAULTS, { authenticate: true, limiter: true });
  const authenticate = all.authenticate && checkFunction('status.authenticate', all.authenticate);
  const checked = {
    authenticate,
    actions: checkBoolean('status.actions', all.actions),
    metrics: checkBoolean('status.metrics', all.metrics),
    page: checkBoolean('status.page', all.page),
    limiter: all.limiter,
  };
  if (checked.page && !open && authenticate === undefined) {
    throw new OptionError(
      'status.authenticate',
      undefined,
      'a function, since others could see and steer the calls of all',
    );
  }
  return checked.page || checked.metrics ? checked : undefined;
}
