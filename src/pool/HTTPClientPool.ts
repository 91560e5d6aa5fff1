import { URL_OPTION_NAMES, UrlConnector, type UrlPoolOptions } from './connectors/UrlConnector.js';
import { knownOptions } from './server/options.js';
import { ServerPool } from './server/ServerPool.js';

export type HTTPClientPoolOptions = UrlPoolOptions;

/**
 * Remote servers over Streamable HTTP, of both eras. Every call is a POST of its own, so what a server asks back while
 * it runs is known to be that call's: a shared connection serves callers with capabilities too. A session that the server
 * lost is made anew once for all its callers, and what it refused is sent once more.
 */
export class HTTPClientPool extends ServerPool {
  /** @throws OptionError */
  constructor(options: HTTPClientPoolOptions = {}) {
    super(
      'HTTPClientPool',
      new UrlConnector(['http'], knownOptions('HTTPClientPool', options, URL_OPTION_NAMES)),
      options,
    );
  }
}
