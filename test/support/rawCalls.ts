import type { HttpConnection, HttpConnectionOptions } from '../../src/connection/http/HttpConnection.js';
import type { CallOptions } from '../../src/connection/protocol/messages.js';
import { openHttp } from './httpServers.js';
import { type Handler, type RawOptions, RawServer } from './rawServer.js';

export const LEGACY = { era: 'legacy' } as const;

export const call = (connection: HttpConnection, name: string, args: object = {}, options: CallOptions = {}) =>
  connection.request('tools/call', { name, arguments: args }, options);

export const failure = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    (result) => {
      throw new Error(`resolved to ${JSON.stringify(result)}`);
    },
    (error: unknown) => error,
  );

/** A raw server with these tools, and a connection to it. */
export async function serve(
  tools: Record<string, Handler>,
  options: RawOptions = {},
  more: Partial<HttpConnectionOptions> = {},
): Promise<{ readonly server: RawServer; readonly connection: HttpConnection }> {
  const server = await RawServer.listen({ tools, ...options });
  return { server, connection: await openHttp(server.url, { ...LEGACY, ...more }) };
}

/** A tool that answers so, whatever it is asked. */
export const reply =
  (status: number, body = '', headers: Record<string, string> = {}): Handler =>
  ({ res }) =>
    void res.writeHead(status, headers).end(body);
