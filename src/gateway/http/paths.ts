import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface GatewayAddress {
  readonly host: string;
  readonly port: number;
  /** `http://host:port`. */
  readonly url: string;
}

/** Where a server listens. */
export function addressOf(server: Server): GatewayAddress {
  const { address, family, port } = server.address() as AddressInfo;
  return { host: address, port, url: `http://${family === 'IPv6' ? `[${address}]` : address}:${port}` };
}

/** What a URL's path is for: the aggregate, or the server of that name; undefined when for nothing here. */
export function targetOf(url: string): { readonly server: string | undefined } | undefined {
  const query = url.indexOf('?');
  const path = query < 0 ? url : url.slice(0, query);
  if (path === '/mcp') return { server: undefined };
  const encoded = /^\/servers\/([^/]+)\/mcp$/.exec(path)?.[1];
  const server = encoded === undefined ? undefined : decode(encoded);
  return server === undefined ? undefined : { server };
}

function decode(encoded: string): string | undefined {
  try {
    return decodeURIComponent(encoded);
  } catch {
    return undefined;
  }
}
