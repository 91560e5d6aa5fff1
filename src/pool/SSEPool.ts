import { UrlConnector, type UrlPoolOptions } from './connectors/urlConnector.js';
import type { TotalSeats } from './server/partitions/TotalSeats.js';
import { ServerPool } from './server/ServerPool.js';

export type SSEPoolOptions = UrlPoolOptions;

/**
 * Remote servers over the HTTP+SSE wire of 2024-11-05. Answers come on one stream for all calls, so that the wire does
 * not tell whose request comes back: callers with capabilities need `leased` or `bound`. When the stream drops, the
 * calls in flight fail and the next one finds a new, initialised connection.
 */
export class SSEPool extends ServerPool {
  /** `total` is for `UnifiedPool`, whose pools share one bound. @throws OptionError */
  constructor(options: SSEPoolOptions = {}, total?: TotalSeats) {
    super('SSEPool', new UrlConnector('sse', options), options, total);
  }
}
