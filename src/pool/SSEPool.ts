import { URL_OPTION_NAMES, UrlConnector, type UrlPoolOptions } from './connectors/UrlConnector.js';
import { knownOptions } from './server/options.js';
import { ServerPool } from './server/ServerPool.js';

export type SSEPoolOptions = UrlPoolOptions;

/**
 * Remote servers over the HTTP+SSE transport of 2024-11-05. Answers come on one stream for all calls, so that the transport does
 * not tell whose request comes back: callers with capabilities need `leased` or `bound`. When the stream drops, the
 * calls in flight fail and the next one finds a new, initialised connection.
 */
export class SSEPool extends ServerPool {
  /** @throws OptionError */
  constructor(options: SSEPoolOptions = {}) {
    super('SSEPool', new UrlConnector(['sse'], knownOptions('SSEPool', options, URL_OPTION_NAMES)), options);
  }
}
