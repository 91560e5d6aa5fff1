import { FairRoom } from '../../../concurrent/FairRoom.js';
import { inSlices } from '../../../core/time/inSlices.js';
import { inTurnOrNow } from '../../../core/time/turns.js';
import type { ListItems, ListKind } from '../../../pool/McpPool.js';
import type { CachedTools, ToolHints } from '../../../toolstore/ToolStore.js';
import type { Curator } from '../../curation/Curator.js';
import type { Downstream } from '../../endpoint/Endpoint.js';
import type { Params } from '../../rpc/envelope.js';
import type { Callers } from '../../session/callers/Callers.js';
import type { ToolCatalog } from '../../ToolCatalog.js';
import { givingObjects } from '../outputSchema.js';
import { withApp } from '../uris/appUris.js';
import { Uris } from '../uris/Uris.js';
import { Catalog } from './Catalog.js';
import type { CatalogSource, Listing } from './KnownLists.js';
import type { ListFailures } from './ListFailures.js';
import { type NamedAccess, Names } from './Names.js';
import { type Entry, entriesIn, mergedHints, type Page, pageOf, type Section } from './pages.js';
import type { CatalogOptions, ServerList } from './ServerList.js';

/** So much text of a page is made into bytes at a time. */
const PIECE_CHARS = 64 * 1_024;

export interface ListsOptions extends CatalogOptions {
  /** Undefined for a principal, whose lists are not cached. */
  readonly catalog: ToolCatalog | undefined;
  /** Which tools clients see, and under which names. */
  readonly curator: () => Curator;
  /** Items of one page. */
  readonly pageItems: number;
  /** What the user may do, with all servers there are; undefined where all may do all. */
  readonly access?: NamedAccess | undefined;
}

/** Kinds of lists that clients are told of. */
export type ChangedKind = 'tools' | 'prompts' | 'resources';

/** The catalogs behind each kind. */
const BEHIND = Object.freeze({ tools: ['tools'], prompts: ['prompts'], resources: ['resources', 'resourceTemplates'] });

export const LIST_METHODS: ReadonlyMap<string, ListKind> = new Map([
  ['tools/list', 'tools'],
  ['prompts/list', 'prompts'],
  ['resources/list', 'resources'],
  ['resources/templates/list', 'resourceTemplates'],
]);

/** All lists of the aggregate, with the names and URIs that are in them. */
export class Lists {
  readonly tools: Names<'tools'>;
  readonly prompts: Names<'prompts'>;
  readonly uris: Uris;
  readonly #pageItems: number;
  /** A page may be megabytes: those that are being made take memory, those that wait for it next to none. */
  readonly #making = new FairRoom({ max: 2 });
  readonly #catalogs: { readonly [K in ListKind]: Catalog<K> };

  /** `onChange`: what clients, or that one, were shown of a kind is not what there is any more, and no server says so. */
  constructor(options: ListsOptions, onChange: (kind: ChangedKind, session: Downstream | undefined) => void) {
    const { pool, callers, curator, access } = options;
    const { failures } = callers;
    const told = (kind: ChangedKind) => (session: Downstream | undefined) => onChange(kind, session);
    this.#pageItems = options.pageItems;
    this.#catalogs = {
      tools: new Catalog('tools', options, toolsFrom(options), told('tools')),
      prompts: new Catalog('prompts', options, listed(failures, 'prompts'), told('prompts')),
      resources: new Catalog('resources', options, listed(failures, 'resources'), told('resources')),
      resourceTemplates: new Catalog(
        'resourceTemplates',
        options,
        listed(failures, 'resourceTemplates'),
        told('resources'),
      ),
    };
    const { tools, prompts, resources, resourceTemplates: templates } = this.#catalogs;
    const servers = (): readonly string[] => pool.servers();
    this.tools = new Names('tools', tools, servers, { curator, access });
    this.prompts = new Names('prompts', prompts, servers, { curator, access });
    this.uris = new Uris({ pool, callers, resources, templates });
  }

  /** The result of a list request, as JSON. `owner`: whose request it is. */
  async page(kind: ListKind, session: Downstream, params: Params | undefined, owner: string): Promise<Buffer> {
    const lists: readonly ServerList<unknown>[] =
      kind === 'tools' ? await this.#toolLists(session) : await this.#catalogs[kind].lists(session);
    return this.#making.run({ group: owner }, () => this.#page(kind, session, params, lists));
  }

  /** In turns of the event loop, since a client may ask for many at once. */
  async #page(
    kind: ListKind,
    session: Downstream,
    params: Params | undefined,
    lists: readonly ServerList<unknown>[],
  ): Promise<Buffer> {
    const sections = await this.#sections(kind, lists);
    let page: Page<unknown> | undefined;
    let made = 0;
    // In bytes as soon as it is some: of a long page, the text is no garbage of megabytes.
    const pieces: Buffer[] = [];
    let text = `{"${kind}":[`;
    await inSlices(() => {
      page ??= pageOf(kind, sections, params?.['cursor'], this.#pageItems);
      const entry = page.entries[made];
      // A list may be long: what clients see of it is made for the items of the page alone.
      if (entry === undefined) return true;
      text += `${made++ === 0 ? '' : ','}${JSON.stringify(this.#shown(kind, entry, lists, session))}`;
      if (text.length < PIECE_CHARS) return false;
      pieces.push(Buffer.from(text));
      text = '';
      return false;
    }, 1);
    const rest = JSON.stringify({
      nextCursor: page?.nextCursor,
      ...(session.era === 'modern' && { resultType: 'complete', ...mergedHints(lists) }),
    });
    pieces.push(Buffer.from(`${text}]${rest === '{}' ? '}' : `,${rest.slice(1)}`}`));
    return inTurnOrNow(() => Buffer.concat(pieces));
  }

  /** The result of a list request that is all in one page and never changes by itself. */
  whole(session: Downstream, tools: readonly unknown[]): Readonly<Record<string, unknown>> {
    return { tools, ...(session.era === 'modern' ? { resultType: 'complete', ttlMs: 0, cacheScope: 'private' } : {}) };
  }

  /** Makes tools as `session` sees them, once they are asked for: all, or the one of a name. */
  async toolsFor(session: Downstream) {
    const lists = await this.#toolLists(session);
    return {
      all: async (): Promise<readonly ListItems['tools'][]> => {
        const entries = entriesIn(await this.tools.of(lists));
        const tools: ListItems['tools'][] = [];
        await inSlices(() => {
          const { value: entry } = entries.next();
          if (entry !== undefined) tools.push(this.#tool(entry, lists, session));
          return entry === undefined;
        });
        return tools;
      },
      named: async (name: unknown): Promise<ListItems['tools'] | undefined> => {
        const entry = typeof name === 'string' ? await this.tools.named(lists, name) : undefined;
        return entry && this.#tool(entry, lists, session);
      },
    };
  }

  /** Forgets what `server` listed: to all, or to a session on its own connection. */
  invalidate(kind: ChangedKind, server: string, session?: Downstream): void {
    for (const each of BEHIND[kind] as readonly ListKind[]) this.#catalogs[each].invalidate(server, session);
  }

  onStarted(server: string): void {
    for (const catalog of Object.values(this.#catalogs)) catalog.onStarted(server);
  }

  onRemoved(server: string): void {
    for (const catalog of Object.values(this.#catalogs)) catalog.onRemoved(server);
  }

  /** Whose the URIs of apps are is told by what lists of resources say. */
  async #toolLists(session: Downstream): Promise<readonly ServerList<ListItems['tools']>[]> {
    const lists = await this.#catalogs.tools.lists(session);
    if (lists.some(({ index }) => index.apps.size > 0)) await this.uris.prepare(session);
    return lists;
  }

  #sections(
    kind: ListKind,
    lists: readonly ServerList<unknown>[],
  ): readonly Section<unknown>[] | Promise<readonly Section<unknown>[]> {
    switch (kind) {
      case 'tools':
        return this.tools.of(lists as readonly ServerList<ListItems['tools']>[]);
      case 'prompts':
        return this.prompts.of(lists as readonly ServerList<ListItems['prompts']>[]);
      case 'resources':
        return sectionsOf(lists as readonly ServerList<ListItems['resources']>[], ({ uri }) => uri);
      case 'resourceTemplates':
        return sectionsOf(lists as readonly ServerList<ListItems['resourceTemplates']>[], (item) => item.uriTemplate);
    }
  }

  #shown(kind: ListKind, entry: Entry<unknown>, lists: readonly ServerList<unknown>[], session: Downstream): unknown {
    switch (kind) {
      case 'tools':
        return this.#tool(
          entry as Entry<ListItems['tools']>,
          lists as readonly ServerList<ListItems['tools']>[],
          session,
        );
      case 'prompts':
        return this.prompts.shown(entry as Entry<ListItems['prompts']>);
      case 'resources':
        return this.uris.resource(
          entry as Entry<ListItems['resources']>,
          lists as readonly ServerList<ListItems['resources']>[],
          session,
        );
      case 'resourceTemplates':
        return this.uris.template(
          entry as Entry<ListItems['resourceTemplates']>,
          lists as readonly ServerList<ListItems['resourceTemplates']>[],
          session,
        );
    }
  }

  /** A tool's app is a resource of its server: of the first that names it. */
  #tool(
    entry: Entry<ListItems['tools']>,
    lists: readonly ServerList<ListItems['tools']>[],
    session: Downstream,
  ): ListItems['tools'] {
    const shown = this.tools.shown(entry);
    return withApp(session.era === 'legacy' ? givingObjects(shown) : shown, (uri) => {
      const first = lists.find(({ index }) => index.apps.has(uri))?.server;
      return this.uris.named(entry.server, uri, session, first);
    });
  }
}

/** Lists whose items are known by what stands in them: an entry is made when it is asked for. */
function sectionsOf<T>(lists: readonly ServerList<T>[], keyOf: (item: T) => string): readonly Section<T>[] {
  return lists.map(({ server, items }) => {
    const entryAt = (place: number): Entry<T> | undefined => {
      const item = items[place];
      return item === undefined ? undefined : { server, key: keyOf(item), item };
    };
    return { server, entries: { length: items.length, at: entryAt } };
  });
}

/** Tools come through the cache. What a `bound` server offers a session is that session's alone, so that it is not cached. */
function toolsFrom({
  catalog,
  callers,
}: {
  catalog: ToolCatalog | undefined;
  callers: Callers;
}): CatalogSource<ListItems['tools']> {
  const own = listed(callers.failures, 'tools');
  if (catalog === undefined) return own;
  return {
    list: async (server, { signal, caller }) => {
      const query = { signal, ...(caller && { caller }) };
      if (callers.isBound(server)) return own.list(server, query);
      return listing(await catalog.tools(server, query), catalog.hints(server, query));
    },
    refresh: async (server, signal) => listing(await catalog.refresh(server, { signal }), catalog.hints(server)),
  };
}

/** A list that its server wants asked for anew each time is kept here until it changes. */
function listing(
  { tools, stale, ageMs }: CachedTools,
  { ttlMs = 0, cacheScope }: ToolHints,
): Listing<ListItems['tools']> {
  const leftMs = ttlMs - ageMs;
  return { items: tools, stale, ...(!stale && leftMs > 0 && { ttlMs: leftMs, cacheScope }) };
}

function listed<K extends ListKind>(failures: ListFailures, kind: K): CatalogSource<ListItems[K]> {
  const list: CatalogSource<ListItems[K]>['list'] = async (server, query) => ({
    ...(await failures.listAll(server, kind, query)),
    stale: false,
  });
  return { list, refresh: (server, signal) => list(server, { signal }) };
}
