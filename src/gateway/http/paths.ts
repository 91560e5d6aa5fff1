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

/** What a path is for: one server, one group, or with neither all servers together. */
export interface Target {
  readonly server?: string;
  readonly group?: string;
}

/**
 * What a URL's path is for; undefined when for nothing here. `mounted`: below whatever path its host's router has sent here,
 * so that its end decides.
 */
export function targetOf(url: string, mounted = false): Target | undefined {
  const path = pathOf(url);
  const [, kind, encoded] =
    (mounted ? /(?:^|\/)(servers|groups)\/([^/]+)\/mcp$/ : /^\/(servers|groups)\/([^/]+)\/mcp$/).exec(path) ?? [];
  if (encoded === undefined) return path === '/mcp' || (mounted && path.endsWith('/mcp')) ? {} : undefined;
  const name = decode(encoded);
  if (name === undefined) return undefined;
  return kind === 'servers' ? { server: name } : { group: name };
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
