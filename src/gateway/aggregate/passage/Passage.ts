import type { RequestHandler } from '../../../connection/protocol/messages.js';
import { META_RELATED_TASK } from '../../../connection/protocol/metaKeys.js';
import { ProtocolError } from '../../../core/errors.js';
import { changed, type GivenParams } from '../../bridge/paramsFor.js';
import type { CallOptions } from '../../endpoint/Endpoint.js';
import type { Params } from '../../rpc/envelope.js';
import type { Callers } from '../../session/callers/Callers.js';
import type { LogLevels } from '../../session/LogLevels.js';
import type { Uris } from '../uris/Uris.js';
import { type Crossing, Outward, withTask } from './Outward.js';
import { TaskIds } from './TaskIds.js';

const NOTHING: Params = Object.freeze({});
const OPEN_BRACE = 0x7b;

export interface PassageOptions {
  readonly callers: Callers;
  readonly uris: Uris;
  readonly levels: LogLevels;
  readonly pool: { servers(): string[] };
}

/** A call of the aggregate on its way to one server and back, with what names a URI or a task changed on both. */
export class Passage {
  readonly outward: Outward;
  readonly taskIds: TaskIds;
  readonly #options: PassageOptions;

  constructor(options: PassageOptions) {
    this.#options = options;
    const { tasks, base } = options.callers;
    this.taskIds = new TaskIds(tasks.sealKeys, base?.principal);
    this.outward = new Outward(options.uris, this.taskIds);
  }

  /** `own`: what of its params that server knows by other names. */
  async send(crossing: Crossing, given: GivenParams, call: CallOptions, own: Params): Promise<unknown> {
    const { callers, levels } = this.#options;
    const { server, session, method } = crossing;
    if (call.request !== undefined) call.request.server = server;
    await levels.tell(server, session, call.signal);
    const changing = changed(given.params, given, { params: own, meta: this.#taskOf(given.params) });
    const { params, paramsText } = changing instanceof Promise ? await changing : changing;
    const { paramsText: _, onNotification, onRequest, onLarge, ...rest } = call;
    const pieces = this.outward.inPieces(crossing, onLarge);
    try {
      const result = await callers.request(server, session, method, params, {
        onLarge: pieces.onLarge,
        paramsText,
        onNotification: onNotification && ((notice) => onNotification(this.outward.notice(notice, server, session))),
        onRequest: onRequest && this.#asking(server, onRequest),
        ...rest,
      });
      // Official clients take no message with another for one, and wait on.
      if (result instanceof Uint8Array && result[0] !== OPEN_BRACE)
        throw new ProtocolError(server, `its result of ${method} is no object`);
      if (given.params?.['task'] !== undefined) callers.tasks.made(server, session, result);
      await pieces.passedOn();
      return await this.outward.result(result, crossing);
    } catch (error) {
      throw this.outward.failure(error, crossing);
    }
  }

  /** Which task the params belong to, as the server knows it. */
  #taskOf(params: Params | undefined): Params {
    const related = (params?.['_meta'] as Params | undefined)?.[META_RELATED_TASK] as Params | undefined;
    const task = this.taskIds.find(this.#options.pool.servers(), related?.['taskId']);
    return task === undefined ? NOTHING : { [META_RELATED_TASK]: { ...related, taskId: task.taskId } };
  }

  #asking(server: string, onRequest: RequestHandler): RequestHandler {
    return async (request, options) => {
      const params = withTask(request.params, (taskId) => this.taskIds.exposed(server, taskId));
      if (params === request.params || params === undefined) return onRequest(request, options);
      const answer = (await onRequest({ ...request, params }, options)) as Params | undefined;
      const servers = this.#options.pool.servers();
      return withTask(answer, (taskId) => this.taskIds.find(servers, taskId)?.taskId ?? taskId);
    };
  }
}
