import { LIST_CHANGES } from '../../connection/protocol/messages.js';
import type { PoolEvents } from '../../pool/McpPool.js';
import type { Callers } from './callers/Callers.js';
import type { Session } from './Session.js';
import type { SessionTable } from './SessionTable.js';

/** Who hears what a server says by itself, and whether it came on a connection of that session's own. */
export interface Hearing {
  readonly sessions: Iterable<Session>;
  readonly own: boolean;
}

const NO_ONE: Hearing = Object.freeze({ sessions: [], own: false });

/**
 * The one place that decides who may hear a notification that belongs to no call. On a connection of its own: its session
 * alone. On a shared one: list changes go to every session; anything else, log messages first of all, may be about a single
 * caller, so that it goes to the only session with a call in flight there, and to none when there are several or none. What
 * came on a connection made for a principal goes to none of ours: the gateway's sessions have no principal.
 */
export function hearingOf(
  { server, principal, key, notice }: PoolEvents['notification'],
  callers: Callers,
  sessions: SessionTable,
): Hearing {
  if (principal !== undefined) return NO_ONE;
  if (callers.isBound(server)) {
    const session = key === undefined ? undefined : sessions.byKey(key);
    return session === undefined ? NO_ONE : { sessions: [session], own: true };
  }
  if (LIST_CHANGES.has(notice.method)) return { sessions, own: false };
  const sole = callers.soleCaller(server) as Session | undefined;
  return sole === undefined ? NO_ONE : { sessions: [sole], own: false };
}
