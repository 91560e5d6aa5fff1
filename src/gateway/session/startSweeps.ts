import type { CloseScope } from '../../core/close/CloseScope.js';
import { inSlices } from '../../core/time/inSlices.js';
import type { ModernHttp } from '../modern/ModernHttp.js';
import type { SseFront } from '../sse/SseFront.js';
import type { Reply } from './Reply.js';
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
  const replies = (): Reply[] => [...[...sessions].flatMap((session) => session.replies), ...modern.replies];
  scope.every('expire sessions', Math.min(sessionIdleMs, MAX_SWEEP_MS), () => sessions.expire());
  scope.every('streams for long calls', Math.min(STREAM_AFTER_MS, heartbeatMs), () => {
    sse?.expire();
    return each(replies(), (reply) => reply.tick());
  });
  scope.every('heartbeat', heartbeatMs, () =>
    each([...sessions, modern, ...replies()], (stream) => stream.heartbeat()),
  );
}

/** In turns of the event loop: there may be thousands. */
function each<T>(things: readonly T[], step: (thing: T) => void): Promise<void> {
  const all = things.values();
  return inSlices(() => {
    const { value: thing, done } = all.next();
    if (done !== true) step(thing);
    return done === true;
  });
}
