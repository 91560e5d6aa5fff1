import { createHash, randomBytes } from 'node:crypto';
import { parsedInTurns } from '../../connection/channel/large/parsedInTurns.js';
import { TakenResult } from '../../connection/channel/large/ResultSink.js';
import { inReadingTurn } from '../../connection/channel/large/readingTurns.js';
import { madeTask } from '../../connection/protocol/madeTask.js';
import { objectOf } from '../../connection/protocol/objectOf.js';
import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import { RpcError } from '../../core/errors.js';
import { pickedInSlices } from '../../core/time/inSlices.js';
import type { CallOptions, Downstream } from '../endpoint/Endpoint.js';
import { SessionTables } from '../endpoint/SessionTables.js';
import type { GatewayPool } from '../GatewayOptions.js';
import { Refusal } from '../rpc/failure.js';
import { sessionKeysOf } from '../tickets/sessionKeys.js';

/** Tasks that are remembered of all programs together: the one that has most loses its oldest, of the session that has most first. */
const MAX_TASKS = 200_000;
/** Elicitations of one error that are remembered. */
const MAX_ELICITATIONS = 100;
/** A longer one is kept as its hash. */
const SHORT_ID_LENGTH = 64;

/** Whom a task was made for: a session, or clients without one together, whose key is no session's. */
export interface TaskOwner {
  readonly key: string;
}

/** The owners of tasks and elicitations of all servers' programs, for all principals: who they were made for, the last where an id is given again. */
export class TaskOwners {
  /** Their keys, in a table for each program. */
  readonly #owners = new SessionTables({ maxWeight: MAX_TASKS, maxAllWeight: MAX_TASKS });
  /** Each stands for a program. */
  readonly #programs = new Map<string, object>();
  /** What ids are sealed by: the first seals, all of them open. */
  readonly sealKeys: readonly Uint8Array[];

  /** `sessionKeys`: of all processes; without any, ids are of this one. @throws OptionError for keys that are none */
  constructor(sessionKeys: readonly (string | Uint8Array)[] = [randomBytes(32)]) {
    this.sealKeys = sessionKeysOf(sessionKeys).map(({ key }) => key);
  }

  set(program: string, name: string, { key }: TaskOwner): void {
    const all = this.#programs.get(program) ?? {};
    this.#programs.set(program, all);
    this.#owners.set(all, keyOf(name), key, 1);
  }

  get(program: string, name: string): string | undefined {
    const all = this.#programs.get(program);
    return all && this.#owners.serverOf(all, keyOf(name));
  }
}

/**
 * Whose the tasks of shared servers are, as one principal's sessions and clients see it. None may ask for a task of no known owner, and none is
 * told of it.
 */
export class OwnTasks {
  readonly #owners: TaskOwners;
  readonly #pool: Pick<GatewayPool, 'config'>;
  readonly #principal: string | undefined;

  constructor(owners: TaskOwners, pool: Pick<GatewayPool, 'config'>, principal: string | undefined) {
    this.#owners = owners;
    this.#pool = pool;
    this.#principal = principal;
  }

  get sealKeys(): readonly Uint8Array[] {
    return this.#owners.sealKeys;
  }

  /** A call was answered: with a task, if its server makes one of it. */
  made(server: string, owner: TaskOwner, result: unknown): void {
    const taskId = madeTask(result);
    if (taskId !== undefined) this.#owners.set(this.#programOf(server), task(taskId), owner);
  }

  /** A call failed: with what its client has to open first, of which its server may tell by itself later (2025-11-25, elicitation). */
  demanded(server: string, owner: TaskOwner, error: unknown): void {
    if (!(error instanceof RpcError) || error.rpcCode !== RPC_CODES.urlElicitationRequired) return;
    const { elicitations } = objectOf(error.data);
    if (!Array.isArray(elicitations)) return;
    for (const each of elicitations.slice(0, MAX_ELICITATIONS)) this.#elicited(server, owner, each);
  }

  /** The handler of a call's questions, which has what its client is asked to open be told of later, too; the one given where that opens nothing. */
  asking(
    server: string,
    owner: Pick<Downstream, 'key' | 'capabilities'>,
    onRequest: CallOptions['onRequest'],
  ): CallOptions['onRequest'] {
    if (onRequest === undefined || objectOf(owner.capabilities?.['elicitation'])['url'] === undefined) return onRequest;
    return (request, context) => {
      if (request.method === 'elicitation/create') this.#elicited(server, owner, request.params);
      return onRequest(request, context);
    };
  }

  /** The same of a call's options. */
  askingIn(server: string, owner: Pick<Downstream, 'key' | 'capabilities'>, call: CallOptions): CallOptions {
    return { ...call, onRequest: this.asking(server, owner, call.onRequest) };
  }

  #elicited(server: string, owner: TaskOwner, elicited: unknown): void {
    const { elicitationId: id } = objectOf(elicited);
    if (typeof id === 'string') this.#owners.set(this.#programOf(server), elicitation(id), owner);
  }

  /** The key of the one whose elicitation it is; undefined where that is not known. */
  elicited(server: string, id: unknown): string | undefined {
    return typeof id === 'string' ? this.#owners.get(this.#programOf(server), elicitation(id)) : undefined;
  }

  /** The key of the one whose it is; undefined where that is not known. */
  ownerOf(server: string, taskId: unknown): string | undefined {
    return typeof taskId === 'string' ? this.#owners.get(this.#programOf(server), task(taskId)) : undefined;
  }

  has(server: string, { key }: TaskOwner, taskId: unknown): boolean {
    return this.ownerOf(server, taskId) === key;
  }

  /** Principals have a program of this machine each to themselves, and share what is behind a URL; by its place, which the config may change. */
  #programOf(server: string): string {
    const config = this.#pool.config(server);
    const ways: readonly object[] = config !== undefined && 'targets' in config ? config.targets : [config ?? {}];
    const places = ways.map(objectOf).map(({ command, args, url }) => ({ command, args, url }));
    const own = places.every(({ command }) => command !== undefined);
    return JSON.stringify([server, places, own ? this.#principal : undefined]);
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
  filtered(server: string, owner: TaskOwner, result: unknown): Promise<unknown> {
    return inReadingTurn(server, owner, result, () => this.#filtered(server, owner, result));
  }

  async #filtered(server: string, owner: TaskOwner, result: unknown): Promise<unknown> {
    const list = (await parsedInTurns(server, result)) as { readonly tasks?: unknown };
    if (!Array.isArray(list.tasks)) return result;
    const own = await pickedInSlices(list.tasks, (task) =>
      this.has(server, owner, objectOf(task)['taskId']) ? task : undefined,
    );
    return own.length === list.tasks.length ? result : Buffer.from(JSON.stringify({ ...list, tasks: own }));
  }
}

export const taskNotFound = (): Refusal =>
  new Refusal(RPC_CODES.invalidParams, 'Failed to retrieve task: Task not found');

function keyOf(taskId: string): string {
  if (taskId.length <= SHORT_ID_LENGTH) return `=${taskId}`;
  return `#${createHash('sha256').update(taskId).digest('base64url')}`;
}

/** Names that are different for each kind. */
const task = (id: string): string => `task ${id}`;
const elicitation = (id: string): string => `elicitation ${id}`;
