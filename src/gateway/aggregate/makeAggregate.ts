import type { Closeable } from '../../core/close/CloseScope.js';
import { packageVersion } from '../../core/version.js';
import { fingerprint } from '../../registry/config/fingerprint.js';
import { NoOpCache } from '../../toolstore/NoOpCache.js';
import type { Endpoint } from '../endpoint/Endpoint.js';
import type { GatewayOptions, GatewaySettings } from '../GatewayOptions.js';
import type { SessionTable } from '../session/SessionTable.js';
import { ToolCatalog } from '../ToolCatalog.js';
import { AggregateEndpoint, type AggregateEndpointOptions } from './AggregateEndpoint.js';

type Times = 'listTimeoutMs' | 'serverWaitMs' | 'pageItems';

type MadeFrom = Omit<
  AggregateEndpointOptions,
  'pool' | 'catalog' | 'serverInfo' | 'sessions' | 'allSessions' | Times
> & {
  readonly sessions: SessionTable;
  /** It as clients reach it: what their sessions are of. */
  readonly shown: () => Endpoint;
  readonly settings: Pick<GatewaySettings, Times>;
};

/** The aggregate of a pool with what its lists come through, and what is to be closed along with it. */
export function makeAggregate(
  { pool, cache }: Pick<GatewayOptions, 'pool' | 'cache'>,
  { settings, sessions, shown, ...options }: MadeFrom,
): { readonly aggregate: AggregateEndpoint; readonly parts: readonly (readonly [string, Closeable])[] } {
  const { logger, clock } = options;
  const store = cache ?? new NoOpCache({ clock });
  const catalog = new ToolCatalog({
    pool,
    cache: store,
    fingerprint: (server) => {
      const config = pool.config(server);
      return config && fingerprint(config);
    },
    logger,
    clock,
  });
  const serverInfo = { name: 'mcp-poolkit', version: packageVersion() };
  const aggregate = new AggregateEndpoint({
    ...settings,
    ...options,
    pool,
    catalog,
    serverInfo,
    sessions: () => sessions.of(shown()),
    allSessions: () => [...sessions],
  });
  const lent: [string, Closeable][] = [['tool catalog', catalog]];
  return { aggregate, parts: cache === undefined ? [...lent, ['tool lists', store]] : lent };
}
