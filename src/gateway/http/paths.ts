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

/**
 * What a URL's path is for: the aggregate, or the server of that name; undefined when for nothing here. `mounted`: below
 * whatever path its host's router has sent here, so that its end decides.
 */
export function targetOf(url: string, mounted = false): { readonly server: string | undefined } | undefined {
  const path = pathOf(url);
  const encoded = (mounted ? /(?:^|\/)servers\/([^/]+)\/mcp$/ : /^\/servers\/([^/]+)\/mcp$/).exec(path)?.[1];
  if (encoded === undefined) {
    return path === '/mcp' || (mounted && path.endsWith('/mcp')) ? { server: undefined } : undefined;
  }
  const server = decode(encoded);
  return server === undefined ? undefined : { server };
}

/**
 * The path alone: without a query, doubled or trailing slashes, and without scheme and authority, which a client that
 * takes us for a forward proxy puts in front (RFC 9112, 3.2.2).
 */
function pathOf(url: string): string {
  const target = /^https?:\/\/[^/?#]*(.*)$/i.exec(url)?.[1] ?? url;
  const query = target.search(/[?#]/);
  const path = (query < 0 ? target : target.slice(0, query)).replace(/\/{2,}/g, '/');
  return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;
}

function decode(encoded: string): string | undefined {
  try {
    return decodeURIComponent(encoded);
  } catch {
    return undefined;
  }
}
