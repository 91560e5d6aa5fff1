import type { Closeable } from '../../core/close/CloseScope.js';
import { fingerprint } from '../../registry/config/fingerprint.js';
import { NoOpCache } from '../../toolstore/NoOpCache.js';
import type { CurationTable } from '../curation/CurationTable.js';
import { somePool } from '../curation/somePool.js';
import type { Downstream, Endpoint } from '../endpoint/Endpoint.js';
import type { GatewayOptions, GatewaySettings } from '../GatewayOptions.js';
import { ToolCatalog } from '../ToolCatalog.js';
import { AggregateEndpoint, type AggregateEndpointOptions } from './AggregateEndpoint.js';

type Times = 'listTimeoutMs' | 'serverWaitMs' | 'pageItems';

export type MadeFrom = Omit<
  AggregateEndpointOptions,
  'pool' | 'catalog' | 'sessions' | 'curator' | 'searching' | Times
> & {
  readonly sessionsOf: (endpoint: Endpoint) => readonly Downstream[];
  /** It as clients reach it, or one of its groups: what their sessions are of. */
  readonly shown: (group?: string) => Endpoint | undefined;
  readonly curation: CurationTable;
  readonly settings: Pick<GatewaySettings, Times>;
};

interface Made {
  readonly aggregate: AggregateEndpoint;
  /** The same of one group's servers and tools. */
  readonly group: (name: string) => AggregateEndpoint;
  /** The aggregate, and the groups that were asked for. */
  readonly all: () => Iterable<AggregateEndpoint>;
  /** What is to be closed along with it. */
  readonly parts: readonly (readonly [string, Closeable])[];
}

/** The aggregate of a pool with what its lists come through, and what is to be closed along with it. */
export function makeAggregate(
  { pool, cache }: Pick<GatewayOptions, 'pool' | 'cache'>,
  { settings, sessionsOf, shown, curation, ...options }: MadeFrom,
): Made {
  const { logger, clock } = options;
  const store = cache ?? new NoOpCache({ clock });
  const makeCatalog = (): ToolCatalog =>
    new ToolCatalog({
      pool: { listAll: options.callers.failures.listAll, on: pool.on.bind(pool) },
      cache: store,
      fingerprint: (server) => {
        const config = pool.config(server);
        return config && fingerprint(config);
      },
      logger,
      clock,
    });
  // What a principal is offered is not cached: each change would be told to the catalogs of thousands.
  const catalog = options.callers.base === undefined ? makeCatalog() : undefined;
  const made = new Map<string | undefined, AggregateEndpoint>();
  const make = (group?: string): AggregateEndpoint => {
    const view = curation.view(group);
    const aggregate = new AggregateEndpoint({
      ...settings,
      ...options,
      ...view,
      pool: group === undefined ? pool : somePool(pool, (server) => view.curator().holds(server)),
      catalog,
      sessions: () => {
        const endpoint = shown(group);
        return endpoint === undefined ? [] : sessionsOf(endpoint);
      },
    });
    made.set(group, aggregate);
    return aggregate;
  };
  const lent: [string, Closeable][] = catalog === undefined ? [] : [['tool catalog', catalog]];
  return {
    aggregate: make(),
    group: (name) => made.get(name) ?? make(name),
    all: () => made.values(),
    parts: cache === undefined ? [...lent, ['tool lists', store]] : lent,
  };
}
