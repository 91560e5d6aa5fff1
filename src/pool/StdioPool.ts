import type { Connection } from '../connection/Connection.js';
import { StdioConnection } from '../connection/stdio/StdioConnection.js';
import { OptionError } from '../core/errors.js';
import { ManagedProcess } from '../registry/ManagedProcess.js';
import type { StdioServerConfig } from '../registry/ServerConfig.js';
import type { Connector, ConnectRequest } from './server/Connector.js';
import type { PoolOptions } from './server/options.js';
import { ServerPool } from './server/ServerPool.js';

export type StdioPoolOptions = PoolOptions;

/**
 * Local servers over stdio: many calls over few processes. One process a principal in `shared` mode, one a borrower in
 * `leased`, one a session in `bound`. A server starts on its first call, once for all who call meanwhile, and again
 * after a crash on the next; a process ends with everything that came from it.
 */
export class StdioPool extends ServerPool {
  constructor(options: StdioPoolOptions = {}) {
    super('StdioPool', new StdioConnector(), options);
  }
}

class StdioConnector implements Connector {
  readonly transports = ['stdio'] as const;
  readonly attributes = false;

  async connect({
    config,
    options,
    pool,
    caller,
    capabilities,
    credentials,
    signal,
    onAnswer,
    onStderr,
  }: ConnectRequest): Promise<Connection> {
    if (config.transport !== 'stdio') throw new OptionError('transport', config.transport, "'stdio'");
    const own = await credentials.get(caller, signal);
    const target: StdioServerConfig =
      own?.env === undefined ? config : { ...config, env: { ...config.env, ...own.env } };
    signal.throwIfAborted();
    const process = await ManagedProcess.spawn(config.name, target, { clock: pool.clock, logger: pool.logger });
    process.onStderr((line) => onStderr(line, process.pid));
    return StdioConnection.open(process, {
      server: config.name,
      era: options.era === 'modern' ? 'modern' : 'legacy',
      clientInfo: caller?.clientInfo ?? pool.clientInfo,
      capabilities,
      clock: pool.clock,
      logger: pool.logger,
      maxMessageBytes: options.maxMessageBytes,
      timeoutMs: options.timeoutMs,
      acquireTimeoutMs: options.acquireTimeoutMs,
      maxTotalTimeoutMs: pool.maxTotalTimeoutMs,
      startTimeoutMs: options.startTimeoutMs,
      signal,
      onAnswer,
    });
  }

  async close(): Promise<void> {
    // Its processes belong to the connections, which the pool has closed by now.
  }
}
