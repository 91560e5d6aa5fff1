import type { IncomingMessage } from 'node:http';

/** What a path is for: one server, one group, or with neither all servers together. */
export interface Target {
  readonly server?: string;
  readonly group?: string;
  /** By the HTTP+SSE transport of 2024-11-05. */
  readonly sse?: true;
}

/**
 * What a URL's path is for; undefined when for nothing here. `mounted`: below whatever path its host's router has sent here,
 * so that its end decides. `sse`: there are paths for that transport, too.
 */
export function targetOf(url: string, { mounted = false, sse = false } = {}): Target | undefined {
  const path = pathOf(url);
  const hit = (
    mounted ? /(?:^|\/)(?:(servers|groups)\/([^/]+)\/)?(mcp|sse)$/ : /^\/(?:(servers|groups)\/([^/]+)\/)?(mcp|sse)$/
  ).exec(path);
  if (hit === null || (hit[3] === 'sse' && !sse)) return undefined;
  const [, kind, encoded, front] = hit;
  const via = front === 'sse' ? ({ sse: true } as const) : {};
  if (encoded === undefined) return via;
  const name = decode(encoded);
  if (name === undefined) return undefined;
  return kind === 'servers' ? { server: name, ...via } : { group: name, ...via };
}

/** The query of a URL. */
export function queryOf(url = ''): URLSearchParams {
  const query = url.indexOf('?');
  return new URLSearchParams(query < 0 ? '' : url.slice(query + 1));
}

/** Where a client of the HTTP+SSE transport is to post to: the path it came by, whatever its host made of it, and who it is. */
export function addressFor(request: IncomingMessage, sessionId: string): string {
  const { originalUrl } = request as { readonly originalUrl?: unknown };
  const url = typeof originalUrl === 'string' ? originalUrl : (request.url ?? '');
  const query = queryOf(url);
  query.set('sessionId', sessionId);
  return `${pathOf(url)}?${query}`;
}

/**
 * The path alone: without a query, doubled or trailing slashes, and without scheme and authority, which a client that
 * takes us for a forward proxy puts in front (RFC 9112, 3.2.2).
 */
function pathOf(url: string): string {
  const target = /^https?:\/\/[^/?#]*(.*)$/is.exec(url)?.[1] ?? url;
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
