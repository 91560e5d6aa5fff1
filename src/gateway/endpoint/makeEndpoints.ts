import type { Closeable } from '../../core/close/CloseScope.js';
import type { AggregateEndpoint } from '../aggregate/AggregateEndpoint.js';
import { type MadeFrom, makeAggregate } from '../aggregate/makeAggregate.js';
import type { GatewayOptions } from '../GatewayOptions.js';
import type { Endpoint } from './Endpoint.js';
import { Endpoints, type EndpointsOptions } from './Endpoints.js';

export interface MadeEndpoints {
  readonly endpoints: Endpoints;
  /** Of all servers together, and of the groups that were asked for. */
  readonly aggregates: () => Iterable<AggregateEndpoint>;
  /** What is to be closed along with them. */
  readonly parts: readonly (readonly [string, Closeable])[];
}

/** All that stands behind the paths of a gateway for one principal. */
export function makeEndpoints(
  options: Pick<GatewayOptions, 'pool' | 'cache'>,
  {
    middleware,
    anyone,
    onEndpoint,
    ...from
  }: Omit<MadeFrom, 'shown' | 'told'> & Omit<EndpointsOptions, 'pool' | 'group'>,
): MadeEndpoints {
  const { callers, clock, logger, sessionsOf, curation } = from;
  const { aggregate, group, all, parts } = makeAggregate(options, {
    ...from,
    told: (...given) => middleware.told(...given),
    shown: (name): Endpoint | undefined => (name === undefined ? outer : endpoints.known(name)),
  });
  const { pool } = options;
  const endpoints = new Endpoints({
    pool,
    callers,
    clock,
    logger,
    curation,
    group,
    middleware,
    anyone,
    onEndpoint,
    sessionsOf,
  });
  const outer = endpoints.addAggregate(aggregate);
  return { endpoints, aggregates: all, parts };
}
