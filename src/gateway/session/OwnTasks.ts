import { createHash } from 'node:crypto';
import { TakenResult } from '../../connection/channel/large/ResultSink.js';
import { madeTask } from '../../connection/protocol/madeTask.js';
import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import { inSlices } from '../../core/time/inSlices.js';
import type { CallOptions } from '../endpoint/Endpoint.js';
import { SessionTables } from '../endpoint/SessionTables.js';
import { Refusal } from '../rpc/failure.js';
import { parseAnswer } from '../rpc/parseAnswer.js';

/** Tasks that are remembered of all servers together: the server that has most loses the older half, of the session that has most first. */
const MAX_TASKS = 200_000;
/** A longer one is kept as its hash. */
const SHORT_ID_LENGTH = 64;

/** Whom a task was made for: a session, or clients without one together, whose key is no session's. */
export interface TaskOwner {
  readonly key: string;
}

/**
 * Whose the tasks of shared servers are: who they were made for, the last where a server gives an id again, for example since it was started
 * anew. None may ask for a task of no known owner, and none is told of it.
 */
export class OwnTasks {
  /** The keys of their owners, in a table for each server. */
  readonly #owners = new SessionTables({ maxWeight: MAX_TASKS, maxAllWeight: MAX_TASKS });
  /** Each stands for a server. */
  readonly #servers = new Map<string, object>();

  /** A call was answered: with a task, if its server makes one of it. */
  made(server: string, owner: TaskOwner, result: unknown): void {
    const taskId = madeTask(result);
    if (taskId === undefined) return;
    const all = this.#servers.get(server) ?? {};
    this.#servers.set(server, all);
    this.#owners.set(all, keyOf(taskId), owner.key, 1);
  }

  /** The key of the one whose it is; undefined where that is not known. */
  ownerOf(server: string, taskId: unknown): string | undefined {
    const all = this.#servers.get(server);
    return all && typeof taskId === 'string' ? this.#owners.serverOf(all, keyOf(taskId)) : undefined;
  }

  has(server: string, { key }: TaskOwner, taskId: unknown): boolean {
    return this.ownerOf(server, taskId) === key;
  }

  /**
   * Sends what names a task, for its owner alone. The answer is as it asks only where the task still is its own: meanwhile its server may have
   * given the id to another's. @throws Refusal
   */
  async ask(
    server: string,
    owner: TaskOwner,
    taskId: unknown,
    call: CallOptions,
    send: (call: CallOptions) => Promise<unknown>,
  ): Promise<unknown> {
    const isOwn = (): boolean => this.has(server, owner, taskId);
    if (!isOwn()) throw taskNotFound();
    const { onLarge } = call;
    const result = await send(
      onLarge === undefined ? call : { ...call, onLarge: (onRoom) => (isOwn() ? onLarge(onRoom) : undefined) },
    );
    if (isOwn() || result instanceof TakenResult) return result;
    throw taskNotFound();
  }

  /** A result of `tasks/list` without what is another session's. */
  async filtered(server: string, owner: TaskOwner, result: unknown): Promise<unknown> {
    const list = parsed(result) as { readonly tasks?: unknown };
    if (!Array.isArray(list.tasks)) return result;
    const own = await ownOf(list.tasks, (task) =>
      this.has(server, owner, (task as { readonly taskId?: unknown } | null)?.taskId),
    );
    return own.length === list.tasks.length ? result : Buffer.from(JSON.stringify({ ...list, tasks: own }));
  }
}

export const taskNotFound = (): Refusal =>
  new Refusal(RPC_CODES.invalidParams, 'Failed to retrieve task: Task not found');

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

function keyOf(taskId: string): string {
  if (taskId.length <= SHORT_ID_LENGTH) return `=${taskId}`;
  return `#${createHash('sha256').update(taskId).digest('base64url')}`;
}
