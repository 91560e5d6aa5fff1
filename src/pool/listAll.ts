import type { Params } from '../connection/protocol/messages.js';
import { ProtocolError } from '../core/errors.js';
import { checkCount } from '../core/options.js';
import type { CompleteList, ListItems, ListKind } from './McpPool.js';

const METHODS: Readonly<Record<ListKind, string>> = {
  tools: 'tools/list',
  prompts: 'prompts/list',
  resources: 'resources/list',
  resourceTemplates: 'resources/templates/list',
};

export const LIST_DEFAULTS = Object.freeze({ maxPages: 1_000 });

/**
 * Every page of a list, in order. A cursor that comes twice is a circle, and more than `maxPages` are too many: both
 * are a `ProtocolError`, since a part of a list is none. Freshness is the shortest of the pages, privacy that of the most
 * private (2026-07-28, caching).
 */
export async function listAll<K extends ListKind>(
  server: string,
  kind: K,
  request: (method: string, params: Params) => Promise<unknown>,
  maxPages: number = LIST_DEFAULTS.maxPages,
): Promise<CompleteList<ListItems[K]>> {
  checkCount('maxPages', maxPages, { min: 1 });
  const items: ListItems[K][] = [];
  const cursors = new Set<string>();
  let ttlMs: number | undefined = Number.POSITIVE_INFINITY;
  let cacheScope: 'public' | 'private' | undefined = 'public';
  for (let cursor: string | undefined, pages = 1; ; pages++) {
    const page = (await request(METHODS[kind], cursor === undefined ? {} : { cursor })) as Params | null;
    const found = page?.[kind];
    if (!Array.isArray(found)) throw new ProtocolError(server, `its ${METHODS[kind]} has no array of ${kind}`);
    items.push(...(found as ListItems[K][]));
    ttlMs = typeof page?.['ttlMs'] === 'number' && ttlMs !== undefined ? Math.min(ttlMs, page['ttlMs']) : undefined;
    if (page?.['cacheScope'] === 'private') cacheScope = 'private';
    else if (page?.['cacheScope'] !== 'public' && cacheScope === 'public') cacheScope = undefined;
    const next = page?.['nextCursor'];
    // An empty string is a cursor like any other.
    if (typeof next !== 'string') return { items, pages, ttlMs, cacheScope };
    if (cursors.has(next))
      throw new ProtocolError(server, `its ${METHODS[kind]} runs in a circle: a cursor came twice`);
    if (pages >= maxPages) throw new ProtocolError(server, `its ${METHODS[kind]} has more than ${maxPages} pages`);
    cursors.add(next);
    cursor = next;
  }
}
