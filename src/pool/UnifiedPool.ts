import { checkArray, checkOptions, checkPart } from '../core/options.js';
import { AutoConnector } from './connectors/AutoConnector.js';
import { ByTransport } from './connectors/ByTransport.js';
import type { Connector } from './connectors/Connector.js';
import { STDIO_OPTION_NAMES, StdioConnector, type StdioConnectorOptions } from './connectors/StdioConnector.js';
import { URL_OPTION_NAMES, UrlConnector, type UrlPoolOptions } from './connectors/UrlConnector.js';
import { knownOptions } from './server/options.js';
import { ServerPool } from './server/ServerPool.js';

export interface UnifiedPoolOptions extends UrlPoolOptions, StdioConnectorOptions {
  /** Used instead of the pool's own for their transports, and not closed with it. @defaultValue none: its own */
  readonly connectors?: readonly Connector[];
}

/**
 * Servers of every transport in one pool. A URL that names no transport is tried over Streamable HTTP, then over SSE, on
 * its first use, and what was found is remembered. `maxConnectionsTotal` bounds the connections of all of them.
 */
export class UnifiedPool extends ServerPool {
  /** @throws OptionError */
  constructor(given: UnifiedPoolOptions = {}) {
    const { connectors = [], ...options } = checkOptions('UnifiedPool', given);
    for (const each of checkArray('connectors', connectors)) checkPart('connectors', each, ['connect'], 'connectors');
    const known = knownOptions('UnifiedPool', options, { ...STDIO_OPTION_NAMES, ...URL_OPTION_NAMES });
    super('UnifiedPool', connectorOf(connectors, known), options);
  }
}

function connectorOf(lent: readonly Connector[], options: UnifiedPoolOptions): Connector {
  // The one with timers last: bad options of the other would leave them.
  const owned = [new UrlConnector(['http', 'sse'], options), new StdioConnector(options)];
  const named = new ByTransport(lent, owned);
  return new ByTransport([], [named, new AutoConnector({ http: named, sse: named })]);
}
