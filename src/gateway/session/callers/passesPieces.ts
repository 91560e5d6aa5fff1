import type { McpPool } from '../../../pool/McpPool.js';
import { isItself } from '../../../pool/server/calls/trace.js';
import { ServerPool } from '../../../pool/server/ServerPool.js';

/** Whether large results may come through a pool in pieces: it is one of ours, and no code in front of it looks at them. */
export const passesPieces = (pool: McpPool): boolean =>
  isItself(pool) && Reflect.get(pool, 'request') === ServerPool.prototype.request;
