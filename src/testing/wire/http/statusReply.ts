import type { FaultSettings } from '../../faults/settings.js';

/** What `Retry-After` says by these settings; undefined: nothing. */
export function retryAfterOf(
  { retryAfter, retryAfterMs = 2_000 }: FaultSettings,
  wallNowMs: number,
): string | undefined {
  if (retryAfter === undefined) return undefined;
  return retryAfter === 'date' ? new Date(wallNowMs + retryAfterMs).toUTCString() : String(retryAfter);
}
