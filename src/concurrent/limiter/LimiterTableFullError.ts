import { QueueFullError } from '../../core/errors.js';

/** Every place in a table of limiters is taken by one that is still counting or has waiters. Code ERR_QUEUE_FULL. */
export class LimiterTableFullError extends QueueFullError {
  /** The server that found no place. */
  readonly server: string;
  /** `used`: fewer than `max` where they are its owner's share. */
  constructor(what: string, server: string, max: number, used = max) {
    super(`${what}: no place for ${JSON.stringify(server)}, servers in use`, used, max);
    this.server = server;
  }
}
