import { createHmac, timingSafeEqual } from 'node:crypto';
import { prefixIn, prefixOf } from '../lists/exposedNames.js';

/** A task as its server knows it. */
export interface TaskRoute {
  readonly server: string;
  readonly taskId: string;
}

const SEAL_LENGTH = 22;

/**
 * Ids of tasks as clients of the aggregate know them: whose the task is, a seal, and its server's id. The seal is of this process, or of all
 * with its `sessionKeys`, and of the principal: an id that was not handed out is none, so that a client cannot try the ids of other clients'
 * tasks on a server they share.
 */
export class TaskIds {
  /** The first seals, all of them open. */
  readonly #keys: readonly Uint8Array[];
  readonly #principal: string | undefined;

  constructor(keys: readonly Uint8Array[], principal: string | undefined) {
    this.#keys = keys;
    this.#principal = principal;
  }

  exposed(server: string, taskId: string): string {
    return `${prefixOf(server)}__${this.#seal(this.#keys[0] as Uint8Array, server, taskId)}${taskId}`;
  }

  /** Whose a task is, and what its server calls it; undefined for an id that was not handed out. */
  find(servers: readonly string[], exposed: unknown): TaskRoute | undefined {
    if (typeof exposed !== 'string') return undefined;
    const prefix = prefixIn(exposed);
    const server = servers.find((each) => prefixOf(each) === prefix);
    if (prefix === undefined || server === undefined) return undefined;
    const sealed = exposed.slice(prefix.length + 2);
    const taskId = sealed.slice(SEAL_LENGTH);
    const given = Buffer.from(sealed.slice(0, SEAL_LENGTH));
    const isRight = (right: Buffer): boolean => given.length === right.length && timingSafeEqual(given, right);
    const opens = this.#keys.some((key) => isRight(Buffer.from(this.#seal(key, server, taskId))));
    return opens ? { server, taskId } : undefined;
  }

  #seal(key: Uint8Array, server: string, taskId: string): string {
    return createHmac('sha256', key)
      .update(JSON.stringify(['task', this.#principal ?? null, server, taskId]))
      .digest('base64url')
      .slice(0, SEAL_LENGTH);
  }
}
