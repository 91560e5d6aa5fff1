import { RPC_CODES } from '../../../connection/protocol/rpcCodes.js';
import { keptError, keptText, messageOf, RpcError, ServerStoppedError } from '../../../core/errors.js';
import { orAbandoned, within } from '../../../core/time/within.js';
import type { Caller, ListItems, ListKind } from '../../../pool/McpPool.js';
import type { Downstream } from '../../endpoint/Endpoint.js';
import { lateFor } from '../../session/callers/crowding.js';
import { NO_INDEX } from '../uris/ListIndex.js';
import { type CatalogSource, type Known, KnownLists, knownOf, oldAfter, type ValidListing } from './KnownLists.js';
import { type CatalogOptions, capabilityOf, listOf, NO_ITEMS, type ServerList } from './ServerList.js';
import { sameItems } from './sameItems.js';
import { type ValidItems, validItems } from './validItems.js';

/**
 * What each server offers of one kind, in the order of the servers. A server's list is kept until it says that it changed,
 * its time is over, or it starts anew; that of a server which does not say so is asked for again behind clients' lists, and before a name is unknown. One that cannot be listed is left out and asked again next time, and so is an
 * item no client could take. A client waits for a slow server a short while only: the rest follows as a change.
 */
export class Catalog<K extends ListKind> {
  readonly #kind: K;
  readonly #options: CatalogOptions;
  readonly #source: CatalogSource<ListItems[K]>;
  readonly #onChange: (session: Downstream | undefined) => void;
  readonly #shared = new KnownLists<ListItems[K]>();
  readonly #own = new WeakMap<Downstream, KnownLists<ListItems[K]>>();
  /** What clients were last shown of each server, as long as it is kept for them. */
  readonly #shown = new Map<string, WeakRef<readonly ListItems[K][]>>();
  /** Whether any client has asked, also while there was no server. */
  #listed = false;
  readonly #problems = new Map<string, readonly string[]>();
  readonly #told = new Map<string, string>();
  /** What servers could not be listed for, the last time that they could not. */
  readonly lastErrors = new Map<string, unknown>();

  /** `onChange`: what clients, or that one, were shown is not what there is any more, and no server says so. */
  constructor(
    kind: K,
    options: CatalogOptions,
    source: CatalogSource<ListItems[K]>,
    onChange: (session: Downstream | undefined) => void,
  ) {
    this.#kind = kind;
    this.#options = options;
    this.#source = source;
    this.#onChange = onChange;
  }

  /** What `server` listed is outdated: to all, or to a session on its own connection. */
  invalidate(server: string, session?: Downstream): void {
    const lists = session === undefined ? this.#shared : this.#listsOf(server, session);
    const known = lists.known.get(server);
    if (known !== undefined) known.outdated = true;
    for (const each of [lists.loading, lists.refreshing]) each.delete(server);
    this.#options.callers.failures.forget(server, this.#kind, lists);
  }

  /** A server is up, again or for the first time. One that came up to be listed is being looked at already. */
  onStarted(server: string): void {
    const { loading, refreshing } = this.#shared;
    if (this.#options.callers.isBound(server) || loading.has(server) || refreshing.has(server)) return;
    this.invalidate(server);
    if (!this.#listed) return;
    this.#load(server, this.#shared, this.#everyone)
      .then((known) => {
        const shown = this.#shown.get(server)?.deref() ?? NO_ITEMS;
        return known && this.#tellUnless(known.items, shown);
      })
      .catch((error: unknown) => this.#failed(server, error));
  }

  /** What is left out of a server's list and why, as of its last listing. */
  problems(server: string): readonly string[] {
    return this.#problems.get(server) ?? [];
  }

  /** A server is not there any more, or stopped on purpose. */
  onRemoved(server: string): void {
    this.invalidate(server);
    this.#shared.forget(server);
    for (const each of [this.#shared.missed, this.#shared.asked]) each.delete(server);
    this.lastErrors.delete(server);
    const shown = this.#shown.get(server);
    this.#shown.delete(server);
    if (shown !== undefined && (shown.deref()?.length ?? 1) > 0) this.#onChange(undefined);
  }

  /** What all servers offer `session`, for one who asks for their lists. */
  lists(session: Downstream): Promise<ServerList<ListItems[K]>[]> {
    const { callers } = this.#options;
    return this.#within(session, (server) => (callers.isShutOut(server, session) ? 0 : this.#waitMs(server, session)));
  }

  /** The same for what one server says, which no other is to hold up: each is waited for that long once. */
  listsSoon(session: Downstream): Promise<ServerList<ListItems[K]>[]> {
    return this.#within(session, (server) => {
      const { asked, missed } = this.#listsOf(server, session);
      return missed.has(server) ? 0 : asked.has(server) ? AGAIN_WAIT_MS : this.#waitMs(server, session);
    });
  }

  #waitMs(server: string, session: Downstream): number {
    const { callers, serverWaitMs } = this.#options;
    return callers.failures.waitMs(server, this.#listsOf(server, session), serverWaitMs);
  }

  async #within(session: Downstream, waitMs: (server: string) => number): Promise<ServerList<ListItems[K]>[]> {
    const { pool, clock } = this.#options;
    const servers = pool.servers();
    this.#listed = true;
    const found = new Map<string, Known<ListItems[K]> | undefined>();
    const asked = servers.map(async (server) => found.set(server, await this.#list(server, session, true)));
    const times = servers.map(waitMs);
    const waits = [...new Set(times)].map(async (timeoutMs) => {
      const alike = Promise.all(asked.filter((_, at) => times[at] === timeoutMs));
      if (timeoutMs > 0) await within(alike, { clock, timeoutMs }).catch(() => undefined);
    });
    await Promise.all(waits);
    return servers.map((server, at) => {
      const lists = this.#listsOf(server, session);
      lists.asked.add(server);
      if (!found.has(server) && !(times[at] === 0 && lists.current(server))) lists.missed.add(server);
      const list = listOf(server, found.get(server) ?? lists.current(server), clock.now());
      if (lists === this.#shared) this.#shown.set(server, new WeakRef(list.items));
      return list;
    });
  }

  /** What is known now of what the servers offer `session`, without asking any. */
  known(session: Downstream): ServerList<ListItems[K]>[] {
    const { pool, clock } = this.#options;
    return pool.servers().map((server) => listOf(server, this.#listsOf(server, session).current(server), clock.now()));
  }

  /** What one server offers `session`, as of its last list, which may be outdated. `fresh`: it is asked again when that one's time is over. */
  async list(server: string, session: Downstream, fresh = false): Promise<readonly ListItems[K][] | undefined> {
    return (await this.#list(server, session, fresh && 'sought'))?.items;
  }

  /** Asks servers again that do not say when their lists change: what is not known may be new. Never rejects. */
  async renew(session: Downstream): Promise<void> {
    const { pool, clock, serverWaitMs: timeoutMs } = this.#options;
    const known = pool.servers().filter((server) => this.#listsOf(server, session).current(server));
    const asked = Promise.all(known.map((server) => this.#list(server, session, 'sought')));
    await within(asked, { clock, timeoutMs }).catch(() => undefined);
  }

  #listsOf(server: string, session: Downstream): KnownLists<ListItems[K]> {
    if (!this.#options.callers.isBound(server)) return this.#shared;
    const own = this.#own.get(session) ?? new KnownLists<ListItems[K]>(session);
    this.#own.set(session, own);
    return own;
  }

  /** One load per server at a time; undefined when the server has nothing to give now. Never rejects. */
  async #list(server: string, session: Downstream, fresh: boolean | 'sought') {
    const { callers, clock, pool } = this.#options;
    const lists = this.#listsOf(server, session);
    const known = lists.known.get(server);
    const { untilMs = Number.POSITIVE_INFINITY } = known ?? {};
    if (known !== undefined) lists.use(server, known);
    const outdated = known?.outdated === true;
    if (known !== undefined && !outdated && (!fresh || clock.now() < untilMs)) {
      const isOld = clock.now() >= (known.oldAtMs ?? Number.POSITIVE_INFINITY) && pool.state(server) === 'ready';
      if (!fresh || !isOld) return known;
      const again = this.#again(server, lists, session, known);
      const soon = fresh === 'sought' ? again : within(again, { clock, timeoutMs: SOON_MS });
      return (await soon.catch(() => undefined)) ?? known;
    }
    const loading = lists.loading.get(server) ?? this.#load(server, lists, () => callers.settled(server, session));
    if (outdated && !fresh) return known;
    return (await loading) ?? (outdated ? undefined : known);
  }

  /** Asks for a list that is old again; clients that were shown another are told. Never rejects. */
  async #again(server: string, lists: KnownLists<ListItems[K]>, session: Downstream, known: Known<ListItems[K]>) {
    known.oldAtMs = oldAfter(this.#options.clock.now(), known);
    const now = await this.#load(server, lists, () => this.#options.callers.settled(server, session));
    if (now === undefined || lists.known.get(server) !== now) return now;
    await this.#tellUnless(now.items, known.items, lists.session).catch((why: unknown) => this.#failed(server, why));
    return now;
  }

  #load(server: string, lists: KnownLists<ListItems[K]>, who?: Who): Promise<Known<ListItems[K]> | undefined> {
    const load = this.#ask(server, lists, who).then((listing) => {
      const known = listing && this.#kept(server, listing);
      // One that was invalidated meanwhile may be of before the change.
      if (lists.loading.get(server) !== load || listing === undefined || known === undefined) return known;
      lists.keep(server, known);
      if (lists.missed.delete(server)) this.#follows(server, lists, known.items);
      if (listing.stale) this.#refresh(server, lists, listing.items);
      return known;
    });
    lists.loading.set(server, load);
    void load.then(() => lists.loading.get(server) === load && lists.loading.delete(server));
    return load;
  }

  /** Tells of what came too late for its clients. */
  #follows(server: string, lists: KnownLists<ListItems[K]>, items: readonly ListItems[K][]): void {
    const shown = this.#shown.get(server)?.deref() ?? NO_ITEMS;
    if (lists === this.#shared) {
      this.#tellUnless(items, shown).catch((error: unknown) => this.#failed(server, error));
    } else if (items.length > 0) this.#onChange(lists.session);
  }

  #kept(server: string, listing: ValidListing<ListItems[K]>): Known<ListItems[K]> {
    const { clock, pool, callers } = this.#options;
    const capability = pool.info(server, callers.base)?.capabilities[capabilityOf(this.#kind)];
    return knownOf(listing, clock.now(), capability === undefined || capability.listChanged === true);
  }

  /** Until the server has told its new list the stale one stands; when it cannot, the next caller has it asked again. */
  #refresh(server: string, lists: KnownLists<ListItems[K]>, stale: readonly ListItems[K][]): void {
    const refresh = this.#ask(server, lists, this.#everyone, true).then(async (listing) => {
      if (lists.refreshing.get(server) !== refresh) return;
      lists.refreshing.delete(server);
      if (listing === undefined || listing.stale) {
        lists.forget(server);
        return;
      }
      const known = this.#kept(server, listing);
      lists.keep(server, known);
      await this.#tellUnless(listing.items, stale);
    });
    lists.refreshing.set(server, refresh);
    refresh.catch((error: unknown) => this.#failed(server, error));
  }

  /** In the background: no client waits for it. */
  #failed(server: string, error: unknown): void {
    this.#options.logger.error({ server, error }, 'a list could not be told to its clients');
  }

  async #tellUnless(items: readonly ListItems[K][], shown: readonly ListItems[K][], to?: Downstream): Promise<void> {
    if (!(await sameItems(items, shown))) this.#onChange(to);
  }

  /** What clients can take of a list; what is left out is told once. */
  async #valid(server: string, listed: readonly ListItems[K][]): Promise<Omit<ValidItems<ListItems[K]>, 'problems'>> {
    const { problems, ...valid } = await validItems(this.#kind, listed);
    this.#problems.set(server, problems);
    const told = problems.slice(0, MAX_TOLD).join('; ');
    if (problems.length > 0 && this.#told.get(server) !== told) {
      this.#options.logger.warn({ server, leftOut: problems.length, problems: told }, 'parts of a list are left out');
    }
    this.#told.set(server, told);
    return valid;
  }

  /** All whose list it is: of a principal, or of no one. */
  readonly #everyone: Who = async () => this.#options.callers.base;

  /** Never rejects. */
  async #ask(server: string, lists: object, who?: Who, refresh = false) {
    const { pool, callers, listTimeoutMs, logger, clock, signal } = this.#options;
    const bounds = { clock, timeoutMs: listTimeoutMs, signal };
    let caller: Caller | undefined;
    const late = (): Error => lateFor({ pool, clock, caller }, server, `${this.#kind}/list`, listTimeoutMs);
    try {
      if (pool.state(server) === 'stopped') throw new ServerStoppedError(server);
      caller = who && (await within(who(), { ...bounds, late }));
      const capabilities = pool.info(server, caller)?.capabilities;
      if (capabilities !== undefined && capabilities[capabilityOf(this.#kind)] === undefined) return NOTHING;
      const listing = await orAbandoned({ ...bounds, late }, (bounded) =>
        refresh
          ? this.#source.refresh(server, bounded)
          : this.#source.list(server, { signal: bounded, ...(caller && { caller }) }),
      );
      if (!listing.stale) callers.failures.told(server, lists);
      return { ...listing, ...(await this.#valid(server, listing.items)) };
    } catch (error) {
      if (signal.aborted) return void this.lastErrors.set(server, signal.reason);
      if (error instanceof RpcError && error.rpcCode === RPC_CODES.methodNotFound) return NOTHING;
      callers.failures.told(server, lists, error);
      // The very same error is one that is remembered: the server was not asked again.
      if (this.lastErrors.get(server) !== error && !(error instanceof ServerStoppedError)) {
        const told = { server, kind: this.#kind, error: keptText(messageOf(error)) };
        logger.warn(told, 'a server could not be listed: what it listed before stands, or it is left out');
      }
      this.lastErrors.set(server, keptError(error));
      return undefined;
    }
  }
}

/** Finds out who asks. */
type Who = () => Promise<Caller | undefined>;

const NOTHING = Object.freeze({ items: NO_ITEMS, index: NO_INDEX, bytes: 0, stale: false });
/** So long what one server says waits for another's list that changed, and a client for one that was old, in ms. */
const [AGAIN_WAIT_MS, SOON_MS] = [25, 250];
/** Problems of a list that are spelled out in the log. */
const MAX_TOLD = 5;
