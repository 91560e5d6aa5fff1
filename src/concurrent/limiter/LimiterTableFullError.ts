import { QueueFullError } from '../../core/errors.js';

/** Every place in a table of limiters is taken by one that is still counting or has waiters. Code ERR_QUEUE_FULL. */
export class LimiterTableFullError extends QueueFullError {
  /** The server that found no place. */
  readonly server: string;
  constructor(what: string, server: string, max: number) {
    super(`${what}: no place for ${JSON.stringify(server)}, servers in use`, max, max);
    this.server = server;
  }
}
