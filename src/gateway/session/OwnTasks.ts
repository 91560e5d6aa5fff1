import { parseAnswer } from '../rpc/parseAnswer.js';

/** Tasks of one session that are remembered. */
const MAX_TASKS = 10_000;
/** A longer id is not remembered. */
const MAX_ID_LENGTH = 1_024;

/** Which tasks were made for which session, or for which others together. On a shared server a session is told of no others. */
export class OwnTasks {
  readonly #tasks = new WeakMap<object, Set<string>>();

  add(server: string, session: object, taskId: string): void {
    if (taskId.length > MAX_ID_LENGTH) return;
    const tasks = this.#tasks.get(session) ?? new Set<string>();
    this.#tasks.set(session, tasks);
    tasks.add(JSON.stringify([server, taskId]));
    const [oldest] = tasks;
    if (tasks.size > MAX_TASKS && oldest !== undefined) tasks.delete(oldest);
  }

  has(server: string, session: object, taskId: unknown): boolean {
    return this.#tasks.get(session)?.has(JSON.stringify([server, taskId])) === true;
  }

  /** A call was answered: with a task, if its server makes one of it. */
  made(server: string, session: object, result: unknown): void {
    const { task } = parsed(result) as { readonly task?: { readonly taskId?: unknown } | null };
    if (typeof task?.taskId === 'string') this.add(server, session, task.taskId);
  }

  /** A result of `tasks/list` without what is another session's. */
  filtered(server: string, session: object, result: unknown): unknown {
    const list = parsed(result) as { readonly tasks?: unknown };
    if (!Array.isArray(list.tasks)) return result;
    const own = list.tasks.filter((task: unknown) =>
      this.has(server, session, (task as { readonly taskId?: unknown } | null)?.taskId),
    );
    return own.length === list.tasks.length ? result : Buffer.from(JSON.stringify({ ...list, tasks: own }));
  }
}

/** A result is an object, as bytes or parsed. */
const parsed = (result: unknown): object =>
  (result instanceof Uint8Array ? parseAnswer(Buffer.from(result).toString('utf8')) : result) as object;
