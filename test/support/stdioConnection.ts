import { StdioConnection, type StdioConnectionOptions } from '../../src/connection/stdio/StdioConnection.js';
import { systemClock } from '../../src/core/clock.js';
import { silentLogger } from '../../src/core/logger.js';
import { ManagedProcess } from '../../src/registry/process/ManagedProcess.js';
import { closeAfter } from './closeAfter.js';
import { fixture } from './servers.js';

/** Of a connection, but for its server's name. */
export const OPTIONS: Omit<StdioConnectionOptions, 'server'> = {
  era: 'legacy',
  clientInfo: { name: 'test', version: '1' },
  capabilities: {},
  clock: systemClock,
  logger: silentLogger,
  maxMessageBytes: 1024 * 1024,
  timeoutMs: 10_000,
  acquireTimeoutMs: 10_000,
  maxTotalTimeoutMs: 60_000,
  startTimeoutMs: 10_000,
};

/** A connection to a program, closed at the end of the test. */
export async function open(
  args: readonly string[],
  options: Partial<StdioConnectionOptions> = {},
): Promise<StdioConnection> {
  const process_ = await ManagedProcess.spawn(
    's',
    { command: process.execPath, args },
    { termGraceMs: 300, stdinGraceMs: 300 },
  );
  const connection = await StdioConnection.open(process_, { server: 's', ...OPTIONS, ...options });
  return closeAfter(connection);
}

/** The echo fixture's arguments. */
export const echoArgs = (...flags: string[]): string[] => [fixture('echo-server.mjs'), ...flags];
export const call = (connection: StdioConnection, name: string, args: object = {}, options = {}): Promise<unknown> =>
  connection.request('tools/call', { name, arguments: args }, options);
export const said = (text: string): object => ({ content: [{ type: 'text', text }] });
