import { checkMs } from '../../core/options.js';
import type { CallOptions } from './messages.js';

const FOREVER = Object.freeze({ infinity: true });

/** The times of one call. One that is none would be no bound at all. @throws OptionError */
export function checkTimes({ timeoutMs, maxTotalTimeoutMs, acquireTimeoutMs }: CallOptions): void {
  if (timeoutMs !== undefined) checkMs('timeoutMs', timeoutMs, FOREVER);
  if (maxTotalTimeoutMs !== undefined) checkMs('maxTotalTimeoutMs', maxTotalTimeoutMs, FOREVER);
  if (acquireTimeoutMs !== undefined) checkMs('acquireTimeoutMs', acquireTimeoutMs, FOREVER);
}
