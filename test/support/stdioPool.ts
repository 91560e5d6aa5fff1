import { StdioPool, type StdioPoolOptions } from '../../src/pool/StdioPool.js';
import type { StdioServerConfig } from '../../src/registry/config/ServerConfig.js';
import { closeAfter } from './closeAfter.js';
import { fixture } from './servers.js';

/** A pool that is closed at the end of the test. */
export function stdioPool(options: StdioPoolOptions = {}): StdioPool {
  return closeAfter(new StdioPool(options));
}

/** The echo fixture as a server, with its flags and settings. */
export function echo(flags: readonly string[] = [], settings: Partial<StdioServerConfig> = {}): StdioServerConfig {
  return {
    name: 'echo',
    transport: 'stdio',
    command: process.execPath,
    args: [fixture('echo-server.mjs'), ...flags],
    ...settings,
  };
}

/** A tool's text. */
export async function said(result: Promise<unknown>): Promise<string> {
  const { content } = (await result) as { content: { text: string }[] };
  return content[0]?.text ?? '';
}

/** Calls a tool of the echo fixture. */
export function tool(pool: StdioPool, name: string, args: object = {}, options = {}): Promise<string> {
  return said(pool.request('echo', 'tools/call', { name, arguments: args }, options));
}
