import { createHash } from 'node:crypto';
import { isTooLargeToRead, parseAnswer } from '../rpc/parseAnswer.js';

/** Tasks of one session on one server that are remembered; the oldest are forgotten, a tenth at a time. */
const MAX_TASKS = 10_000;
/** Of all sessions together: who has most forgets the older half. */
const MAX_ALL_TASKS = 200_000;
/** A longer id is not remembered. */
const MAX_ID_LENGTH = 1_024;
/** A longer one is kept as its hash. */
const SHORT_ID_LENGTH = 64;

/** Which tasks were made for which session, or for which others together. On a shared server a session is told of no others. */
export class OwnTasks {
  /** By session and server: what one server makes drives out nothing of another's. */
  readonly #tasks = new WeakMap<object, Map<string, Set<string>>>();
  /** Those of all sessions that are there. */
  readonly #all = new Set<WeakRef<Set<string>>>();
  /** How many they are, those of sessions that are gone included. */
  #count = 0;

  add(server: string, session: object, taskId: string): void {
    if (taskId.length > MAX_ID_LENGTH) return;
    const own = this.#tasks.get(session) ?? new Map<string, Set<string>>();
    this.#tasks.set(session, own);
    const tasks = own.get(server) ?? this.#begin(server, own);
    const before = tasks.size;
    tasks.add(keyOf(taskId));
    if (tasks.size > MAX_TASKS) for (const old of [...tasks].slice(0, MAX_TASKS / 10)) tasks.delete(old);
    this.#count += tasks.size - before;
    if (this.#count > MAX_ALL_TASKS) this.#makeRoom();
  }

  has(server: string, session: object, taskId: unknown): boolean {
    return typeof taskId === 'string' && this.#tasks.get(session)?.get(server)?.has(keyOf(taskId)) === true;
  }

  #begin(server: string, own: Map<string, Set<string>>): Set<string> {
    const tasks = new Set<string>();
    own.set(server, tasks);
    this.#all.add(new WeakRef(tasks));
    return tasks;
  }

  #makeRoom(): void {
    const live: Set<string>[] = [];
    for (const each of this.#all) {
      const tasks = each.deref();
      if (tasks === undefined) this.#all.delete(each);
      else live.push(tasks);
    }
    live.sort((a, b) => b.size - a.size);
    this.#count = live.reduce((sum, { size }) => sum + size, 0);
    for (const each of live) {
      if (this.#count <= MAX_ALL_TASKS * 0.9) return;
      const older = [...each].slice(0, Math.ceil(each.size / 2));
      for (const task of older) each.delete(task);
      this.#count -= older.length;
    }
  }

  /** A call was answered: with a task, if its server makes one of it. No result that does is large. */
  made(server: string, session: object, result: unknown): void {
    if (result instanceof Uint8Array && isTooLargeToRead(result)) return;
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
const parsed = (result: unknown): object => (result instanceof Uint8Array ? parseAnswer(result) : result) as object;

const keyOf = (taskId: string): string =>
  taskId.length > SHORT_ID_LENGTH ? `#${createHash('sha256').update(taskId).digest('base64url')}` : `=${taskId}`;
