import { parsedInTurns } from '../connection/channel/large/parsedInTurns.js';
import { type ListReader, ReadingRoom } from '../connection/channel/large/ReadingRoom.js';
import { LIST_METHODS, type Params } from '../connection/protocol/messages.js';
import { weighItems } from '../connection/weighItems.js';
import { ProtocolError, RpcError } from '../core/errors.js';
import { type Logger, silentLogger } from '../core/logger.js';
import { checkBytes, checkCount, checkMs, checkNames, checkOneOf, type Names } from '../core/options.js';
import { LIST_DEFAULTS, type ListBounds } from './ListBounds.js';
import type { CompleteList, ListItems, ListKind } from './McpPool.js';

const LIST_OPTIONS: Names<ListBounds> & { readonly caller: true; readonly signal: true } = {
  caller: true,
  signal: true,
  maxPages: true,
  maxItems: true,
  maxBytes: true,
  maxTotalTimeoutMs: true,
};

/** What a whole list may cost to be parsed, in the units of `costOf`: its values take some tens of MB, however short their text is. */
const MAX_COST = 60_000_000;
/** One of which a page was refused is asked for again after so many ms. */
const PARTIAL_MS = 60_000;

export interface ListSource extends ListReader {
  /** Sends one request, for its result as bytes or parsed; `deadlineMs` is what is left of the whole list's time. */
  readonly request: (method: string, params: Params, deadlineMs: number) => Promise<unknown>;
  readonly logger?: Logger;
}

/**
 * Every page of a list, in order; items are passed as they are. Cursors that run in a circle, or pages that come twice
 * (servers that end their lists with `""` begin again), and a further page that is refused, end the list: what was read is kept, without
 * doubles, and a warning is logged. A cursor that is a number, 0 aside, goes back as one. Freshness is the shortest of the pages, privacy that of the most private (2026-07-28, caching).
 * @throws ProtocolError for a page that is none, and for a list beyond its bounds
 */
export async function listAll<K extends ListKind>(source: ListSource, kind: K, bounds: ListBounds = {}) {
  const room = new ReadingRoom(source);
  return read(source, kind, bounds, room).finally(() => room.end());
}

async function read<K extends ListKind>(
  { server, request, clock, signals = [], logger = silentLogger }: ListSource,
  kind: K,
  bounds: ListBounds,
  room: ReadingRoom,
): Promise<CompleteList<ListItems[K]>> {
  const method = LIST_METHODS[checkOneOf('kind', kind, Object.keys(LIST_METHODS) as ListKind[])];
  const { maxPages, maxItems, maxBytes, maxTotalTimeoutMs } = checked(bounds);
  const untilMs = clock.now() + maxTotalTimeoutMs;
  const items: ListItems[K][] = [];
  const cursors = new Set<string | number>();
  const seen = new Set<string>();
  let bytes = 0;
  let cost = 0;
  let ttlMs: number | undefined = Number.POSITIVE_INFINITY;
  let cacheScope: 'public' | 'private' | undefined = 'public';
  let pages = 0;
  const fail = (what: string): ProtocolError => new ProtocolError(server, `its ${method} ${what}`);
  const late = (): ProtocolError => fail(`took longer than ${maxTotalTimeoutMs} ms`);
  const list = (why?: string): CompleteList<ListItems[K]> => {
    if (why !== undefined) logger.warn({ server, method, pages }, `${why}: the list ends there`);
    return { items, pages, ttlMs, cacheScope };
  };
  for (let cursor: string | number | undefined; ; ) {
    let told: Params | null;
    try {
      const page = await request(method, cursor === undefined ? {} : { cursor }, untilMs - clock.now());
      await room.take(page, MAX_COST, untilMs - clock.now(), late);
      told = (await parsedInTurns(server, page)) as Params | null;
    } catch (error) {
      // One that says `""` for the end knows no such cursor. Of any other there is more than this, which may be had later.
      if (cursor === undefined || !(error instanceof RpcError)) throw error;
      if (cursor !== '') ttlMs = Math.min(ttlMs ?? PARTIAL_MS, PARTIAL_MS);
      return list('a cursor of a list is refused');
    }
    const found = told?.[kind];
    if (!Array.isArray(found)) throw fail(`has no array of ${kind}`);
    // Before the work of weighing it; a page that came twice may exceed a bound only together with the others.
    if (found.length > maxItems) throw fail(`has more than ${maxItems} items`);
    const page = await weighItems(found, { maxBytes, maxCost: MAX_COST });
    room.weighed(page.cost);
    if (page.items.length > 0 && seen.has(page.print)) return list('a page of a list came twice');
    seen.add(page.print);
    pages++;
    bytes += page.bytes;
    if (bytes > maxBytes) throw fail(`has more than ${maxBytes} bytes`);
    cost += page.cost;
    if (cost > MAX_COST) throw fail('has too many values');
    if (items.length + found.length > maxItems) throw fail(`has more than ${maxItems} items`);
    const deep = found.length - page.items.length;
    if (deep > 0)
      logger.warn({ server, method, leftOut: deep }, 'items of a list are nested too deeply: they are left out');
    for (const item of page.items) items.push(item as ListItems[K]);
    ttlMs = typeof told?.['ttlMs'] === 'number' && ttlMs !== undefined ? Math.min(ttlMs, told['ttlMs']) : undefined;
    if (told?.['cacheScope'] === 'private') cacheScope = 'private';
    else if (told?.['cacheScope'] !== 'public' && cacheScope === 'public') cacheScope = undefined;
    const next = told?.['nextCursor'];
    if (typeof next !== 'string' && (typeof next !== 'number' || next === 0)) return list();
    if (cursors.has(next)) return list('a cursor of a list came twice');
    if (pages >= maxPages) throw fail(`has more than ${maxPages} pages`);
    bytes += Buffer.byteLength(String(next));
    if (bytes > maxBytes) throw fail(`has more than ${maxBytes} bytes`);
    cursors.add(next);
    cursor = next;
    for (const signal of signals) signal?.throwIfAborted();
    if (clock.now() >= untilMs) throw late();
  }
}

function checked(bounds: ListBounds) {
  const { maxTotalTimeoutMs = LIST_DEFAULTS.maxTotalTimeoutMs } = bounds;
  checkNames('listAll', bounds, LIST_OPTIONS);
  return {
    maxPages: checkCount('maxPages', bounds.maxPages ?? LIST_DEFAULTS.maxPages, { min: 1 }),
    maxItems: checkCount('maxItems', bounds.maxItems ?? LIST_DEFAULTS.maxItems, { min: 1 }),
    maxBytes: checkBytes('maxBytes', bounds.maxBytes ?? LIST_DEFAULTS.maxBytes, { min: 1_024 }),
    maxTotalTimeoutMs: checkMs('maxTotalTimeoutMs', maxTotalTimeoutMs, { min: 1, infinity: true }),
  };
}
