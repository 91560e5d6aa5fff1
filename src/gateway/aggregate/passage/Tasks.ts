import { parsedInTurns } from '../../../connection/channel/large/parsedInTurns.js';
import { inReadingTurn } from '../../../connection/channel/large/readingTurns.js';
import { objectOf } from '../../../connection/protocol/objectOf.js';
import { RPC_CODES } from '../../../connection/protocol/rpcCodes.js';
import type { Clock } from '../../../core/clock.js';
import { messageOf, RequestTimeoutError } from '../../../core/errors.js';
import type { Logger } from '../../../core/logger.js';
import { pickedInSlices } from '../../../core/time/inSlices.js';
import { withDeadline } from '../../../core/time/within.js';
import { signalOf } from '../../../core/wait/Cancellation.js';
import type { McpPool } from '../../../pool/McpPool.js';
import { changed } from '../../bridge/paramsFor.js';
import type { CallOptions, Downstream } from '../../endpoint/Endpoint.js';
import { whole } from '../../endpoint/whole.js';
import type { Params } from '../../rpc/envelope.js';
import { Refusal } from '../../rpc/failure.js';
import type { Callers } from '../../session/callers/Callers.js';
import { taskNotFound } from '../../session/OwnTasks.js';
import { TASK_TYPE } from '../memberTypes.js';
import type { Passage } from './Passage.js';

export interface TasksOptions {
  readonly pool: McpPool;
  readonly callers: Callers;
  readonly logger: Logger;
  readonly passage: Passage;
  readonly clock: Clock;
  /** Longest that one server's list may take, in ms. */
  readonly listTimeoutMs: number;
  /** Longest that a client waits for a server's list, in ms; of 0 or more than `listTimeoutMs`, that. */
  readonly serverWaitMs: number;
}

interface TaskPage {
  readonly tasks: readonly unknown[];
  readonly nextCursor: unknown;
}

const BY_ID: ReadonlySet<string> = new Set(['tasks/get', 'tasks/result', 'tasks/cancel', 'tasks/update']);

/** Tasks of all servers: each is asked of the server that runs it. */
export class Tasks {
  readonly #options: TasksOptions;

  constructor(options: TasksOptions) {
    this.#options = options;
  }

  async request(session: Downstream, method: string, params: Params | undefined, call: CallOptions): Promise<unknown> {
    const { pool, passage, callers } = this.#options;
    if (method === 'tasks/list' && session.era === 'legacy') return this.#list(session, params, call);
    if (!BY_ID.has(method)) throw new Refusal(RPC_CODES.methodNotFound, `method not found: ${method}`);
    const task = passage.taskIds.find(pool.servers(), params?.['taskId']);
    if (task === undefined) throw taskNotFound();
    const { server, taskId } = task;
    const given = { params, paramsText: call.paramsText };
    const send = (options: CallOptions): Promise<unknown> =>
      passage.send({ server, session, method }, given, options, { taskId });
    // Clients of the modern era, which have no sessions, know by its id that a task is theirs.
    if (session.era === 'modern' || callers.isBound(server)) return send(call);
    return callers.tasks.ask(server, session, taskId, call, send);
  }

  /** A page is a page of one server; one that cannot tell, or not soon, is passed over. On a shared server a session has its own tasks alone. */
  async #list(session: Downstream, params: Params | undefined, call: CallOptions): Promise<unknown> {
    const { callers, logger } = this.#options;
    const servers = this.#servers(session);
    let { index, cursor } = startOf(servers, params?.['cursor']);
    const { clock, listTimeoutMs, serverWaitMs } = this.#options;
    const waitMs = Math.min(serverWaitMs || listTimeoutMs, listTimeoutMs);
    const endMs = clock.now() + waitMs;
    for (; index < servers.length; index++, cursor = undefined) {
      const server = servers[index] as string;
      let page: TaskPage;
      try {
        const own = await changed(params, call, { params: { cursor } });
        const send = (signal: AbortSignal): Promise<unknown> =>
          callers.request(server, session, 'tasks/list', own.params, {
            ...whole(call),
            paramsText: own.paramsText,
            signal,
          });
        // Servers that are silent have the time of one together, and a tenth of it each beyond.
        const timeoutMs = Math.ceil(Math.max(endMs - clock.now(), waitMs / 10));
        const answer = await this.#within(timeoutMs, server, send, call);
        page = await inReadingTurn(server, session, answer, () => this.#page(server, session, answer));
      } catch (error) {
        if (call.signal?.aborted === true) throw error;
        logger.warn({ server, error: messageOf(error) }, 'the tasks of a server could not be listed');
        continue;
      }
      const { tasks, nextCursor: inner } = page;
      const next = typeof inner === 'string' ? [server, inner] : [servers[index + 1]];
      if (tasks.length === 0 && typeof inner !== 'string') continue;
      return { tasks, ...(next[0] === undefined ? {} : { nextCursor: cursorOf(next) }) };
    }
    return { tasks: [] };
  }

  /** A page of a server, as the session is shown it. */
  async #page(server: string, session: Downstream, answer: unknown): Promise<TaskPage> {
    const { tasks, nextCursor } = objectOf(await parsedInTurns(server, answer));
    const all: readonly unknown[] = Array.isArray(tasks) ? tasks : [];
    return { tasks: await pickedInSlices(all, (task) => this.#shown(server, session, task)), nextCursor };
  }

  #within<T>(
    timeoutMs: number,
    server: string,
    send: (signal: AbortSignal) => Promise<T>,
    { signal }: CallOptions,
  ): Promise<T> {
    const late = (): Error => new RequestTimeoutError(server, 'tasks/list', timeoutMs);
    return withDeadline({ clock: this.#options.clock, timeoutMs, late, signal: signalOf(signal) }, send);
  }

  #servers(session: Downstream): string[] {
    const { pool, callers } = this.#options;
    return pool.servers().filter((server) => {
      const capabilities = pool.info(server, callers.of(server, session))?.capabilities as
        | { readonly tasks?: { readonly list?: unknown } }
        | undefined;
      return capabilities?.tasks?.list !== undefined;
    });
  }

  /** A server's task as the session knows it; undefined for another's. */
  #shown(server: string, session: Downstream, task: unknown): unknown {
    const { passage, callers, logger } = this.#options;
    const { taskId } = objectOf(task);
    if (!callers.isBound(server) && !callers.tasks.has(server, session, taskId)) return undefined;
    const odd = new Set<string>();
    const taken = TASK_TYPE(task, 'task', odd) as Params | undefined;
    if (odd.size > 0)
      logger.warn({ server, odd: [...odd] }, 'a task of a server is listed without what is odd in it, or not');
    return taken && { ...taken, taskId: passage.taskIds.exposed(server, taskId as string) };
  }
}

const cursorOf = (place: readonly unknown[]): string => Buffer.from(JSON.stringify(place)).toString('base64url');

/** @throws Refusal */
function startOf(servers: readonly string[], given: unknown): { index: number; cursor: string | undefined } {
  if (given === undefined || given === null) return { index: 0, cursor: undefined };
  try {
    const [server, cursor] = JSON.parse(Buffer.from(String(given), 'base64url').toString()) as unknown[];
    const index = servers.indexOf(server as string);
    if (index !== -1 && (cursor === undefined || typeof cursor === 'string')) return { index, cursor };
  } catch {
    // It is none.
  }
  throw new Refusal(RPC_CODES.invalidParams, 'the cursor is none of this list');
}
