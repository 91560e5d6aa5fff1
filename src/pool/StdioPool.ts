import { STDIO_OPTION_NAMES, StdioConnector, type StdioConnectorOptions } from './connectors/StdioConnector.js';
import { knownOptions, type PoolOptions } from './server/options.js';
import { ServerPool } from './server/ServerPool.js';

export interface StdioPoolOptions extends PoolOptions, StdioConnectorOptions {}

/**
 * Local servers over stdio: many calls over few processes. One process a principal in `shared` mode, one a borrower in
 * `leased`, one a session in `bound`. A server starts on its first call, once for all who call meanwhile, and again
 * after a crash on the next; a process ends with everything that came from it.
 */
export class StdioPool extends ServerPool {
  /** @throws OptionError */
  constructor(options: StdioPoolOptions = {}) {
    super('StdioPool', new StdioConnector(knownOptions('StdioPool', options, STDIO_OPTION_NAMES)), options);
  }
}
