import { HTTPClientPool, type HTTPClientPoolOptions } from '../../src/pool/HTTPClientPool.js';
import type { Caller, McpPool, RequestOptions } from '../../src/pool/McpPool.js';
import type { UrlServerConfig } from '../../src/registry/config/ServerConfig.js';
import { closeAfter } from './closeAfter.js';
import { type RawOptions, RawServer } from './rawServer.js';
import { said } from './stdioPool.js';

/** A pool that is closed at the end of the test. */
export function httpPool(options: HTTPClientPoolOptions = {}): HTTPClientPool {
  return closeAfter(new HTTPClientPool(options));
}

/** A raw server, and a pool that has it as `raw`. */
export async function rawPool(
  server: RawOptions = {},
  options: HTTPClientPoolOptions = {},
  settings: Partial<UrlServerConfig> = {},
): Promise<{ readonly server: RawServer; readonly pool: HTTPClientPool }> {
  const raw = await RawServer.listen(server);
  const pool = httpPool(options);
  pool.addServer({ name: 'raw', transport: 'http', url: raw.url, era: 'legacy', ...settings });
  return { server: raw, pool };
}

/** Calls a tool of `raw`; gives its text. */
export function tool(pool: McpPool, name: string, args: object = {}, options: RequestOptions = {}): Promise<string> {
  return said(pool.request('raw', 'tools/call', { name, arguments: args }, options));
}

/** Has `raw` echo a text for this caller. */
export const echoFor = (pool: McpPool, caller: Caller, text = 'hi'): Promise<string> =>
  tool(pool, 'echo', { text }, { caller });

/** The sessions that calls came in, by their text. */
export function sessionsOf(server: RawServer): Map<string, string | undefined> {
  return new Map(
    server
      .of('tools/call')
      .map(({ message, headers }) => [
        String(message.params.arguments.text),
        headers['mcp-session-id'] as string | undefined,
      ]),
  );
}
