import { createHash } from 'node:crypto';
import { inSlices } from '../../core/time/inSlices.js';
import { SessionTables } from '../endpoint/SessionTables.js';
import { isTooLargeToRead, parseAnswer } from '../rpc/parseAnswer.js';

/** Tasks of one session that are remembered, and of all sessions together. */
const MAX_TASKS = 10_000;
const MAX_ALL_TASKS = 200_000;
/** A longer id is not remembered. */
const MAX_ID_LENGTH = 1_024;
/** A longer one is kept as its hash. */
const SHORT_ID_LENGTH = 64;

/** Whom a task was made for: a session, or clients without one together, whose key is no session's. */
export interface TaskOwner {
  readonly key: string;
}

/** Which tasks were made for which session, or for which others together. On a shared server a session is told of no others. */
export class OwnTasks {
  readonly #tasks = new SessionTables({ maxWeight: MAX_TASKS, maxAllWeight: MAX_ALL_TASKS });
  /** The keys of their owners, in a table for each server. */
  readonly #owners = new SessionTables({ maxWeight: MAX_ALL_TASKS, maxAllWeight: MAX_ALL_TASKS });

  /** Each stands for a server. */
  readonly #servers = new Map<string, object>();

  add(server: string, session: TaskOwner, taskId: string): void {
    if (taskId.length > MAX_ID_LENGTH) return;
    const key = keyOf(server, taskId);
    this.#tasks.set(session, key, server, 1);
    const all = this.#servers.get(server) ?? {};
    this.#servers.set(server, all);
    this.#owners.set(all, key, session.key, 1);
  }

  /** The key of the one whose it is; undefined where that is not known. */
  ownerOf(server: string, taskId: unknown): string | undefined {
    const all = this.#servers.get(server);
    return all && typeof taskId === 'string' ? this.#owners.serverOf(all, keyOf(server, taskId)) : undefined;
  }

  has(server: string, session: object, taskId: unknown): boolean {
    return typeof taskId === 'string' && this.#tasks.serverOf(session, keyOf(server, taskId)) === server;
  }

  /** A call was answered: with a task, if its server makes one of it. No result that does is large. */
  made(server: string, session: TaskOwner, result: unknown): void {
    if (result instanceof Uint8Array && isTooLargeToRead(result)) return;
    const { task } = parsed(result) as { readonly task?: { readonly taskId?: unknown } | null };
    if (typeof task?.taskId === 'string') this.add(server, session, task.taskId);
  }

  /** A result of `tasks/list` without what is another session's. */
  async filtered(server: string, session: object, result: unknown): Promise<unknown> {
    const list = parsed(result) as { readonly tasks?: unknown };
    if (!Array.isArray(list.tasks)) return result;
    const own = await ownOf(list.tasks, (task) =>
      this.has(server, session, (task as { readonly taskId?: unknown } | null)?.taskId),
    );
    return own.length === list.tasks.length ? result : Buffer.from(JSON.stringify({ ...list, tasks: own }));
  }
}

/** Those of a list that are a session's own; a long one is looked through in turns of the event loop. */
export async function ownOf(tasks: readonly unknown[], isOwn: (task: unknown) => boolean): Promise<unknown[]> {
  const own: unknown[] = [];
  let at = 0;
  await inSlices(() => {
    if (at === tasks.length) return true;
    const task = tasks[at++];
    if (isOwn(task)) own.push(task);
    return false;
  });
  return own;
}

/** A result is an object, as bytes or parsed. */
const parsed = (result: unknown): object => (result instanceof Uint8Array ? parseAnswer(result) : result) as object;

/** By server: what one makes drives out nothing of another's. */
function keyOf(server: string, taskId: string): string {
  const id =
    taskId.length > SHORT_ID_LENGTH ? `#${createHash('sha256').update(taskId).digest('base64url')}` : `=${taskId}`;
  return `${server.length} ${server}${id}`;
}
