import { Shares } from '../../concurrent/Shares.js';
import type { CloseOptions } from '../../core/close/CloseScope.js';
import { QueueFullError } from '../../core/errors.js';
import { inGroups } from '../../core/time/inSlices.js';
import type { Curation } from '../../registry/config/curation/Curation.js';
import { MergedInfos } from '../aggregate/MergedInfos.js';
import { RequestStates } from '../bridge/RequestStates.js';
import { CurationTable } from '../curation/CurationTable.js';
import { TaskOwners } from '../session/OwnTasks.js';
import { callerOrigin, OF_USER } from '../session/origin.js';
import type { Session } from '../session/Session.js';
import type { User } from './Authenticate.js';
import { Tenant, type TenantOptions } from './Tenant.js';

export interface TenantsOptions extends Omit<TenantOptions, 'curation' | 'states' | 'taskOwners' | 'infos'> {
  readonly curation: Curation | undefined;
  /** Principals that are kept, of one user three quarters. The least recently used without a session or call makes room. */
  readonly maxTenants?: number;
}

/** Of principals whose endpoints are kept there may be so many at least, or twice as many as sessions: each takes some 35 kB, and its lists. */
const MIN_TENANTS = 2_000;

/** The tenants of a gateway, by principal: made with the first request of each. */
export class Tenants {
  readonly #options: TenantOptions;
  /** The least recently used first. */
  readonly #byPrincipal = new Map<string, Tenant>();
  readonly #shares: Shares;
  readonly #anonymous: Tenant;
  readonly #closing = new Set<Promise<void>>();

  /** @throws OptionError for a curation or keys that are none */
  constructor({ curation, maxTenants, ...options }: TenantsOptions) {
    this.#shares = new Shares(maxTenants ?? Math.max(MIN_TENANTS, 2 * options.settings.maxSessions));
    const states = new RequestStates(options.gateway.sessionKeys);
    const infos = new MergedInfos(options.logger);
    const taskOwners = new TaskOwners(options.gateway.sessionKeys);
    this.#options = { ...options, states, taskOwners, infos, curation: new CurationTable(curation) };
    this.#anonymous = new Tenant(undefined, this.#options);
  }

  /** The one of a user, who has made a request. @throws QueueFullError when there are too many in use */
  of(user: User | undefined): Tenant {
    if (user === undefined) return this.#anonymous;
    const { principal } = user;
    const known = this.#byPrincipal.get(principal);
    if (known === undefined) this.#take(callerOrigin(user));
    const tenant = known ?? new Tenant(user, this.#options);
    this.#byPrincipal.delete(principal);
    this.#byPrincipal.set(principal, tenant);
    tenant.seen(user);
    return tenant;
  }

  /** Shows all of them other tools from now on, and tells their clients. @throws OptionError; all stays as it was then */
  curate(curation: Curation): void {
    this.#options.curation.set(curation);
    for (const { aggregates } of this) for (const each of aggregates()) each.onCurated();
  }

  /** The one of a principal, if there is one. */
  find(principal: string | undefined): Tenant | undefined {
    return principal === undefined ? this.#anonymous : this.#byPrincipal.get(principal);
  }

  /** Whose a session is. */
  ofSession({ caller }: Session): Tenant | undefined {
    return this.find(caller.principal);
  }

  *[Symbol.iterator](): Iterator<Tenant> {
    yield this.#anonymous;
    yield* this.#byPrincipal.values();
  }

  async close(options?: CloseOptions): Promise<void> {
    const closing: Promise<void>[] = [];
    await inGroups([...this], (tenant) => {
      const closed = tenant.close(options);
      closing.push(closed);
      // It is told below, once all have begun.
      closed.catch(() => undefined);
    });
    await Promise.all([...closing, ...this.#closing]);
  }

  #take(owner: string): void {
    const shares = this.#shares;
    if (!shares.mayTake(owner, 1)) this.#makeRoom(shares.taken < shares.max ? owner : undefined);
    shares.add(owner, 1);
  }

  /** Of that user's principals, or of all. */
  #makeRoom(owner: string | undefined): void {
    const inUse = new Set([...this.#options.sessions()].map(({ caller }) => caller.principal));
    for (const [principal, tenant] of this.#byPrincipal) {
      const own = callerOrigin(tenant);
      if ((owner ?? own) !== own || inUse.has(principal) || tenant.endpoints.busy) continue;
      this.#byPrincipal.delete(principal);
      this.#shares.add(own, -1);
      const closing = tenant.close({ graceMs: 0 }).catch((error: unknown) => {
        this.#options.logger.warn({ error }, 'what was kept for a principal did not end cleanly');
      });
      this.#closing.add(closing);
      void closing.then(() => this.#closing.delete(closing));
      return;
    }
    if (owner === undefined) throw new QueueFullError('principals', this.#shares.taken, this.#shares.max);
    throw new QueueFullError(OF_USER, this.#shares.of(owner), this.#shares.of(owner));
  }
}
