import { inSlices } from '../../../core/time/inSlices.js';
import type { ListItems, McpPool } from '../../../pool/McpPool.js';
import type { Downstream } from '../../endpoint/Endpoint.js';
import type { Callers } from '../../session/callers/Callers.js';
import type { Catalog } from '../lists/Catalog.js';
import { prefixOf } from '../lists/exposedNames.js';
import type { Entry } from '../lists/pages.js';
import type { ServerList } from '../lists/ServerList.js';
import { UriOwners } from './UriOwners.js';
import { fits, LIST, type Work, workOfUris } from './uriTemplates.js';

/** A URI as its server knows it. */
export interface UriRoute {
  readonly server: string;
  readonly uri: string;
}

export interface UrisOptions {
  readonly pool: McpPool;
  readonly callers: Callers;
  readonly resources: Catalog<'resources'>;
  readonly templates: Catalog<'resourceTemplates'>;
}

/** What the servers list. */
export interface KnownLists {
  readonly resources: readonly ServerList<ListItems['resources']>[];
  readonly templates: readonly ServerList<ListItems['resourceTemplates']>[];
}

/** Steps of a search between two looks at the clock: one may take long. */
const STEPS = 4;
const SCHEME = 'poolkit:';
/** The same as a client may read it: URL parsers know schemes in any letters, and drop blanks before them, tabs and line breaks. */
const ANY_SCHEME = new RegExp(`^[\\0- ]*${[...SCHEME].join('[\\t\\n\\r]*')}`, 'i');
/** A client may fetch those by itself: in links they are never changed for a link of another server. */
const WEB = /^https?:/i;
/** In place of a server: several linked to a URI of the web, so that none is asked for it. */
const SEVERAL = '';

/**
 * URIs as clients of the aggregate see them. They keep their form; one that is another server's already is told as
 * `poolkit:<server>/<uri>`, a template too, so that what it expands to leads there. Whose a URI is: the server's that clients were
 * shown it of, for good; else of the first that lists it, else of the first whose tool names it, else of the one whose template says
 * most of it, else of the one that linked to it. Each way to tell a plain one claims it, and each looks at the claims of all others.
 */
export class Uris {
  readonly #options: UrisOptions;
  /** Of URIs that lists have and tools name, and those that one session has otherwise. */
  readonly #owners = new UriOwners();
  /** What all have of answers: any number, which must drive out nothing that is listed. */
  readonly #answered = new UriOwners();
  /** What a session has of links that no list and no template has. */
  readonly #links = new UriOwners();
  readonly #templates = new UriOwners();

  constructor(options: UrisOptions) {
    this.#options = options;
  }

  /** Where a client's URI leads; undefined when no server is known to have it. */
  async find(uri: string, session: Downstream): Promise<UriRoute | undefined> {
    if (ANY_SCHEME.test(uri)) return this.#explicit(uri);
    const owner = this.#owner(uri, session);
    if (owner !== undefined) return this.#route(owner, uri);
    const [found] = await this.findAll([uri], session);
    if (found !== undefined) return found;
    const { resources, templates } = this.#options;
    await Promise.all([resources.renew(session), templates.renew(session)]);
    return (await this.findAll([uri], session))[0];
  }

  /** The same of the URIs of one message, in turns of the event loop. Where very many would be needed, the last ones are not looked for. */
  async findAll(uris: readonly string[], session: Downstream): Promise<readonly (UriRoute | undefined)[]> {
    const lists = await this.#lists(session);
    const work = workOfUris(uris.length);
    const routes: (UriRoute | undefined)[] = [];
    let search: Search<UriRoute> | undefined;
    await inSlices(() => {
      if (routes.length === uris.length) return true;
      search ??= this.#search(uris[routes.length] as string, session, lists, work);
      const { done, value } = search.next();
      if (done !== true) return false;
      search = undefined;
      // Of several, one that was not looked for to the end is none.
      if (work.left < 0 && routes.length > 0) return true;
      routes.push(value);
      return false;
    }, STEPS);
    return routes;
  }

  /** Where a template leads that a client read in the list. */
  async findTemplate(template: string, session: Downstream): Promise<UriRoute | undefined> {
    if (ANY_SCHEME.test(template)) return this.#explicit(template);
    const owner = this.#templates.get(template, session);
    if (owner !== undefined) return this.#route(owner, template);
    const lists = await this.#options.templates.listsSoon(session);
    const list = lists.find(({ index }) => index.uris.has(template));
    return list === undefined ? this.find(template, session) : { server: list.server, uri: template };
  }

  /** What is to be known before `outward` can tell whose a URI is. */
  async prepare(session: Downstream): Promise<void> {
    const { resources, templates } = this.#options;
    await Promise.all([resources.listsSoon(session), templates.listsSoon(session)]);
  }

  /** What is known of the lists now: looked up once for all URIs of a message. */
  known(session: Downstream): KnownLists {
    const { resources, templates } = this.#options;
    const listed = templates.known(session).filter(({ items }) => items.length > 0);
    return { resources: resources.known(session), templates: listed };
  }

  /** A URI that came from `server`, as clients see it; `work` is that of its message. */
  outward(server: string, uri: string, session: Downstream, work: Work, lists = this.known(session)): string {
    if (ANY_SCHEME.test(uri)) return wrapped(server, uri);
    const linked = this.#links.get(uri, session);
    const owner = linked ?? this.#owner(uri, session) ?? this.#lister(uri, lists.resources, session);
    if (owner === server) return uri;
    if (owner !== undefined) {
      if (linked === undefined || !WEB.test(uri)) return wrapped(server, uri);
      this.#links.set(uri, SEVERAL, session, false);
      return uri;
    }
    const fitting = lists.templates.length === 0 ? undefined : atOnce(bestFit(uri, lists.templates, work, server));
    if (fitting !== undefined && fitting !== server) return wrapped(server, uri);
    const alone = session.era === 'modern' && this.#options.pool.servers().length === 1;
    const shared = this.#shares(server);
    if (fitting !== undefined || alone) (shared ? this.#answered : this.#owners).set(uri, server, session, shared);
    else if (session.era === 'legacy') this.#links.set(uri, server, session, false);
    // Clients of the modern era have no session that could remember it: where it leads has to stand in it.
    else if (!WEB.test(uri)) return wrapped(server, uri);
    return uri;
  }

  /** A URI that an item of a list names: it is claimed for `first`, the first server that does, where none lists it. */
  named(server: string, uri: string, session: Downstream, first = server): string {
    if (ANY_SCHEME.test(uri)) return wrapped(server, uri);
    const owner = this.#owner(uri, session) ?? this.#lister(uri, this.#options.resources.known(session), session);
    if (owner === undefined) this.#owners.set(uri, first, session, this.#shares(first));
    return (owner ?? first) === server ? uri : wrapped(server, uri);
  }

  /** A legacy client has it of that server now, by itself: it read it, or subscribed to it. */
  keep(server: string, uri: string, session: Downstream): void {
    if (session.era === 'legacy' && this.#owner(uri, session) === undefined) {
      this.#owners.set(uri, server, session, false);
    }
  }

  /** A resource under the URI that leads to it, for which it is claimed: for the first server that lists it. */
  resource(
    { server, item }: Entry<ListItems['resources']>,
    lists: readonly ServerList<ListItems['resources']>[],
    session: Downstream,
  ): ListItems['resources'] {
    const { uri } = item;
    const owner = this.#owner(uri, session) ?? this.#lister(uri, lists, session);
    return owner === server && !ANY_SCHEME.test(uri) ? item : { ...item, uri: wrapped(server, uri) };
  }

  /** The same of a template, in the form whose expansions lead to its server. */
  template(
    { server, item }: Entry<ListItems['resourceTemplates']>,
    lists: readonly ServerList<ListItems['resourceTemplates']>[],
    session: Downstream,
  ): ListItems['resourceTemplates'] {
    const { uriTemplate: own } = item;
    let owner = this.#templates.get(own, session);
    if (owner === undefined) {
      owner = lists.find(({ index }) => index.uris.has(own))?.server ?? server;
      this.#templates.set(own, owner, session, this.#shares(owner));
    }
    return owner === server && !ANY_SCHEME.test(own) ? item : { ...item, uriTemplate: wrapped(server, own) };
  }

  async #lists(session: Downstream): Promise<KnownLists> {
    const { resources, templates } = this.#options;
    const found = await Promise.all([resources.listsSoon(session), templates.listsSoon(session)]);
    return { resources: found[0], templates: found[1] };
  }

  *#search(uri: string, session: Downstream, lists: KnownLists, work: Work): Search<UriRoute> {
    work.left -= uri.length;
    if (ANY_SCHEME.test(uri)) return this.#explicit(uri);
    const server =
      this.#owner(uri, session) ??
      this.#lister(uri, lists.resources, session) ??
      (yield* bestFit(uri, lists.templates, work)) ??
      this.#onlyOne(session);
    return this.#route(server, uri);
  }

  /** One that names a server leads to that one, or nowhere: no other hears of it. */
  #explicit(uri: string): UriRoute | undefined {
    const own = uri.replace(ANY_SCHEME, '');
    const end = own.indexOf('/');
    const prefix = end === -1 ? own : own.slice(0, end);
    const server = this.#options.pool.servers().find((each) => prefixOf(each) === prefix);
    return server === undefined ? undefined : { server, uri: end === -1 ? uri : own.slice(end + 1) };
  }

  /**
   * Whose it is for good, since clients were shown it as that server's: also while that one does not offer it, or is not there. What
   * the session itself was shown goes before what all were.
   */
  #owner(uri: string, session: Downstream): string | undefined {
    return this.#links.get(uri, session) ?? this.#owners.get(uri, session) ?? this.#answered.get(uri, session);
  }

  #route(server: string | undefined, uri: string): UriRoute | undefined {
    return server !== undefined && this.#options.pool.hasServer(server) ? { server, uri } : undefined;
  }

  /** The first server that lists it: from now on it is that one's. */
  #lister(uri: string, lists: readonly ServerList<ListItems['resources']>[], session: Downstream): string | undefined {
    const server = lists.find(({ index }) => index.uris.has(uri))?.server;
    if (server !== undefined) this.#owners.set(uri, server, session, this.#shares(server));
    return server;
  }

  /** The server that must be meant, since no other has resources. */
  #onlyOne(session: Downstream): string | undefined {
    const { pool, callers } = this.#options;
    const having = pool.servers().filter((server) => {
      const info = pool.info(server, callers.of(server, session));
      return info === undefined || info.capabilities.resources !== undefined;
    });
    return having.length === 1 ? having[0] : undefined;
  }

  #shares(server: string): boolean {
    return !this.#options.callers.isBound(server);
  }
}

const wrapped = (server: string, uri: string): string => `${SCHEME}${prefixOf(server)}/${uri}`;

/** Looks for one thing, step by step. */
type Search<T> = Generator<undefined, T | undefined, undefined>;

function atOnce<T>(search: Search<T>): T | undefined {
  for (let step = search.next(); ; step = search.next()) if (step.done === true) return step.value;
}

/** The server with the template that says most of a URI; of equals `first`, else the one that comes first. None when the work is used up. */
function* bestFit(
  uri: string,
  lists: readonly ServerList<ListItems['resourceTemplates']>[],
  work: Work,
  first?: string,
): Search<string> {
  let best: { readonly server: string; readonly literal: number } | undefined;
  for (const { server, index } of lists) {
    work.left -= LIST;
    for (const template of index.templates?.beginningLike(uri, work) ?? []) {
      const better =
        best === undefined ||
        template.literal > best.literal ||
        (template.literal === best.literal && server === first);
      if (better && fits(template, uri, work)) best = { server, literal: template.literal };
      yield;
    }
    if (work.left < 0) return undefined;
  }
  return best?.server;
}
