import { respliced } from '../../../connection/calls/spliced.js';
import { LONG_BYTES } from '../../../connection/channel/large/LongMessage.js';
import type { OnLarge } from '../../../connection/channel/large/ResultSink.js';
import { META_RELATED_TASK } from '../../../connection/protocol/metaKeys.js';
import { RpcError } from '../../../core/errors.js';
import type { ServerNotice } from '../../../pool/McpPool.js';
import type { Downstream } from '../../endpoint/Endpoint.js';
import type { Params } from '../../rpc/envelope.js';
import { InPieces } from '../../rpc/rewriting/InPieces.js';
import { rewritten } from '../../rpc/rewriting/rewritten.js';
import { type JsonPath, StringRewriter } from '../../rpc/rewriting/StringRewriter.js';
import type { KnownLists, Uris } from '../uris/Uris.js';
import { type Work, workOfMessage } from '../uris/uriTemplates.js';
import type { TaskIds } from './TaskIds.js';

/** Whose message it is, and for whom. */
export interface Crossing {
  readonly server: string;
  readonly session: Downstream;
  readonly method: string;
  /** The URI that the client asked for and what its server calls it. */
  readonly asked?: { readonly client: string; readonly server: string } | undefined;
}

const KEYS: ReadonlySet<string> = new Set(['uri', 'resourceUri', 'ui/resourceUri', 'openai/outputTemplate', 'taskId']);
/** Whose values are the server's and the client's own business. */
const OPAQUE: ReadonlySet<string | number | undefined> = new Set(['structuredContent', 'arguments', 'input']);
/** No URI of the protocol stands deeper: `messages[0].content[0].resource._meta.ui.resourceUri`. */
const MAX_DEPTH = 12;
const URI_NAMES = ['"uri"', 'esourceUri"', '"openai/outputTemplate"'] as const;
const TASK_RESULT = /"resultType"\s*:\s*"task"/;

/** What servers say, with the URIs and the ids of tasks in it as clients of the aggregate know them; all else as it came. */
export class Outward {
  readonly #uris: Uris;
  readonly #tasks: TaskIds;
  /** Params of notifications, as they were made for what they are to name. */
  readonly #made = new WeakMap<Params, Map<string, Params>>();

  constructor(uris: Uris, tasks: TaskIds) {
    this.#uris = uris;
    this.#tasks = tasks;
  }

  /** A result: bytes stay bytes. */
  async result(result: unknown, crossing: Crossing): Promise<unknown> {
    if (!(result instanceof Uint8Array)) return result;
    const bytes = Buffer.from(result.buffer, result.byteOffset, result.byteLength);
    // A small one is looked through in no time.
    const small = bytes.length < LONG_BYTES;
    const uris = !small || URI_NAMES.some((name) => bytes.includes(name));
    if (!uris && !bytes.includes('"taskId"')) return result;
    if (uris) await this.#uris.prepare(crossing.session);
    const makesTask = small && TASK_RESULT.test(bytes.toString('latin1'));
    return rewritten(bytes, this.#rewriter(crossing, makesTask));
  }

  /** The same for one that comes in pieces. */
  inPieces(crossing: Crossing, onLarge: OnLarge | undefined): InPieces {
    return new InPieces(
      onLarge,
      () => this.#rewriter(crossing, false),
      () => this.#uris.prepare(crossing.session),
    );
  }

  /** What comes on the way to an answer, or by itself. */
  notice(notice: ServerNotice, server: string, session: Downstream): ServerNotice {
    const { method, params } = notice;
    const name = method === 'notifications/resources/updated' ? 'uri' : 'taskId';
    const id = name === 'uri' || method.startsWith('notifications/tasks') ? params?.[name] : undefined;
    if (typeof id !== 'string') return this.#saying(notice, server);
    const own =
      name === 'taskId' ? this.#tasks.exposed(server, id) : this.#uris.outward(server, id, session, workOf(notice));
    return this.#saying(notice, server, name, own);
  }

  /** A notification about a resource, for those who asked for it by that URI. */
  about(notice: ServerNotice, server: string, uri: string): ServerNotice {
    return this.#saying(notice, server, 'uri', uri);
  }

  /** `own`: what its params are to name there. All for whom it says the same have the same params, so that their streams share one event. */
  #saying(notice: ServerNotice, server: string, name?: string, own = ''): ServerNotice {
    const { params } = notice;
    if (params === undefined || ((name === undefined || params[name] === own) && taskOf(params) === undefined))
      return notice;
    const made = this.#made.get(params) ?? new Map<string, Params>();
    this.#made.set(params, made);
    let said = made.get(own);
    if (said === undefined) {
      const named = name === undefined ? params : { ...params, [name]: own };
      said = withTask(named, (taskId) => this.#tasks.exposed(server, taskId)) ?? named;
      if (named !== params) said = respliced(params, said);
      made.set(own, said);
    }
    return { ...notice, params: said };
  }

  /** An error: what it says of a URI. */
  failure(error: unknown, { asked }: Crossing): unknown {
    if (!(error instanceof RpcError) || asked === undefined || asked.client === asked.server) return error;
    const data = error.data as Params | null | undefined;
    if (typeof data !== 'object' || data?.['uri'] !== asked.server) return error;
    return new RpcError(error.server, error.rpcCode, error.message, { ...data, uri: asked.client });
  }

  /** `makesTask`: no result that does is large. */
  #rewriter(crossing: Crossing, makesTask: boolean): StringRewriter {
    const ofTask = makesTask || crossing.method.startsWith('tasks/');
    const work = workOfMessage();
    let lists: KnownLists | undefined;
    return new StringRewriter(KEYS, (path, value) => {
      if (isTaskId(path, ofTask)) return this.#tasks.exposed(crossing.server, value);
      if (!isUri(path)) return undefined;
      lists ??= this.#uris.known(crossing.session);
      return this.#uri(value, crossing, work, lists);
    });
  }

  #uri(uri: string, { server, session, asked }: Crossing, work: Work, lists: KnownLists): string {
    if (uri !== asked?.server) return this.#uris.outward(server, uri, session, work, lists);
    if (asked.client === uri) this.#uris.keep(server, uri, session);
    return asked.client;
  }
}

const works = new WeakMap<ServerNotice, Work>();

/** One notification may be for very many sessions: for all of them together no more is looked at than for one message. */
function workOf(notice: ServerNotice): Work {
  const work = works.get(notice) ?? workOfMessage();
  works.set(notice, work);
  return work;
}

/** Params with another id of the task they belong to; the same params when they belong to none. */
export function withTask(params: Params | undefined, map: (taskId: string) => string): Params | undefined {
  const taskId = taskOf(params);
  if (taskId === undefined) return params;
  const meta = params?.['_meta'] as Params;
  const related = meta[META_RELATED_TASK] as Params;
  return respliced(params, { ...params, _meta: { ...meta, [META_RELATED_TASK]: { ...related, taskId: map(taskId) } } });
}

function taskOf(params: Params | undefined): string | undefined {
  const meta = params?.['_meta'] as Params | undefined;
  const taskId = (meta?.[META_RELATED_TASK] as Params | undefined)?.['taskId'];
  return typeof taskId === 'string' ? taskId : undefined;
}

function isTaskId(path: JsonPath, ofTask: boolean): boolean {
  if (path.at(-1) !== 'taskId') return false;
  if (path.length === 1) return ofTask;
  if (path[0] === 'task') return path.length === 2;
  if (path[0] === 'tasks') return path.length === 3;
  return path[0] === '_meta' && path[1] === META_RELATED_TASK && path.length === 3;
}

/** Links, embedded resources, contents; and where MCP Apps name their resource. */
function isUri(path: JsonPath): boolean {
  if (path.length > MAX_DEPTH || path.some((each) => OPAQUE.has(each))) return false;
  const meta = path.indexOf('_meta');
  const key = path.at(-1);
  if (meta !== -1) {
    const below = path.slice(meta + 1).join(' ');
    return below === 'ui resourceUri' || below === 'ui/resourceUri' || below === 'openai/outputTemplate';
  }
  if (key !== 'uri') return false;
  const above = path.slice(0, -1).filter((each) => typeof each === 'string');
  if (above.at(-1) === 'resource') above.pop();
  return above.at(-1) === 'content' || above.at(-1) === 'contents';
}
