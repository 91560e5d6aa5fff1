import type { CloseScope } from '../../core/close/CloseScope.js';
import type { ModernHttp } from '../modern/ModernHttp.js';
import type { SseFront } from '../sse/SseFront.js';
import type { SessionTable } from './SessionTable.js';

const MAX_SWEEP_MS = 60_000;
/** A call that takes longer, up to twice as long, gets a stream. */
const STREAM_AFTER_MS = 2_500;

export interface Swept {
  readonly sessions: SessionTable;
  readonly modern: ModernHttp;
  readonly sse: SseFront | undefined;
  readonly sessionIdleMs: number;
  readonly heartbeatMs: number;
}

/** What clients need now and then: sessions that expire, streams for long calls, heartbeats. It ends with the scope. */
export function startSweeps(scope: CloseScope, { sessions, modern, sse, sessionIdleMs, heartbeatMs }: Swept): void {
  scope.every('expire sessions', Math.min(sessionIdleMs, MAX_SWEEP_MS), () => sessions.expire());
  scope.every('streams for long calls', Math.min(STREAM_AFTER_MS, heartbeatMs), () => {
    for (const session of sessions) session.tick();
    modern.tick();
    sse?.expire();
  });
  scope.every('heartbeat', heartbeatMs, () => {
    for (const session of sessions) session.heartbeat();
    modern.heartbeat();
  });
}
