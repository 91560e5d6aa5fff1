import { LIST_CHANGES, type Params } from '../../../connection/protocol/messages.js';
import { META_RELATED_TASK } from '../../../connection/protocol/metaKeys.js';
import type { PoolEvents, ServerNotice } from '../../../pool/McpPool.js';
import type { Tenant } from '../../users/Tenant.js';
import type { Session } from '../Session.js';
import type { SessionTable } from '../SessionTable.js';
import type { Tell } from './CallsInFlight.js';

/** Who hears what a server says by itself, and whether it came on a connection of that session's own. */
export interface Hearing {
  readonly sessions: Iterable<Session>;
  readonly own: boolean;
  /** The call of a client without a session that it is for. */
  readonly call?: Tell | undefined;
}

const NO_ONE: Hearing = Object.freeze({ sessions: [], own: false });

/**
 * The one place that decides who may hear a notification that belongs to no call. On a connection of its own: its session
 * alone. On a shared one, which is shared by the callers of one principal: list changes go to every session of that principal; what names a task, to the
 * session that it was made for, and to none where that is not known; what a client was to open, to that one in the same way; anything else, log messages first of all, may be about a single caller, so that it goes to the only session of it
 * with a call in flight there, and to none when there are several or none, or it came on a connection without a call.
 */
export function hearingOf(
  { server, principal, key, notice, busy }: PoolEvents['notification'],
  { callers }: Tenant,
  sessions: SessionTable,
): Hearing {
  if (callers.isBound(server)) {
    const session = key === undefined ? undefined : sessions.byKey(key);
    const own = session?.caller.principal === principal ? session : undefined;
    return own === undefined ? NO_ONE : { sessions: [own], own: true };
  }
  if (LIST_CHANGES.has(notice.method)) {
    return { sessions: [...sessions].filter(({ caller }) => caller.principal === principal), own: false };
  }
  const task = taskOf(notice);
  const elicited = notice.method === 'notifications/elicitation/complete';
  if (task !== undefined || elicited) {
    const { tasks } = callers;
    const owner =
      task === undefined
        ? tasks.elicited(server, notice.params?.['elicitationId'])
        : tasks.ownerOf(server, task.taskId);
    const session = owner === undefined ? undefined : sessions.byKey(owner);
    return session === undefined ? NO_ONE : { sessions: [session], own: false };
  }
  const sole = busy === false ? undefined : callers.calls.sole(server);
  if (sole === undefined) return NO_ONE;
  if (sole.era === 'legacy') return { sessions: [sole as Session], own: false };
  // Clients of the modern era share what stands for them here: with several calls in flight it may be about any of them.
  return notice.method === 'notifications/message' ? { ...NO_ONE, call: callers.calls.soleCall(server) } : NO_ONE;
}

/** Whether it is about a task: who may hear it is not known before the task's call was answered. */
export const namesTask = (notice: ServerNotice): boolean => taskOf(notice) !== undefined;

/** The task that it is about, whatever stands where its id should. */
function taskOf({ method, params }: ServerNotice): { readonly taskId?: unknown } | undefined {
  if (method.startsWith('notifications/tasks')) return params ?? {};
  const meta = params?.['_meta'] as Params | null | undefined;
  const related = meta?.[META_RELATED_TASK];
  return related === undefined || related === null ? undefined : related;
}
