import type { Closeable } from '../../core/close/CloseScope.js';
import type { Curation } from '../../registry/config/curation/Curation.js';
import type { AggregateEndpoint } from '../aggregate/AggregateEndpoint.js';
import { type MadeFrom, makeAggregate } from '../aggregate/makeAggregate.js';
import { CurationTable } from '../curation/CurationTable.js';
import type { GatewayOptions } from '../GatewayOptions.js';
import type { Endpoint } from './Endpoint.js';
import { Endpoints } from './Endpoints.js';

export interface MadeEndpoints {
  readonly endpoints: Endpoints;
  /** Of all servers together, and of the groups that were asked for. */
  readonly aggregates: () => Iterable<AggregateEndpoint>;
  /** Shows other tools from now on, and tells clients. @throws OptionError */
  readonly curate: (curation: Curation) => void;
  /** What is to be closed along with them. */
  readonly parts: readonly (readonly [string, Closeable])[];
}

/** All that stands behind the paths of a gateway. @throws OptionError */
export function makeEndpoints(
  options: Pick<GatewayOptions, 'pool' | 'cache' | 'curation'>,
  from: Omit<MadeFrom, 'shown' | 'curation'>,
): MadeEndpoints {
  const { callers, sessions, logger } = from;
  const curation = new CurationTable(options.curation);
  const { aggregate, group, all, parts } = makeAggregate(options, {
    ...from,
    curation,
    shown: (name): Endpoint | undefined => (name === undefined ? outer : endpoints.known(name)),
  });
  const endpoints = new Endpoints({
    pool: options.pool,
    logger,
    callers,
    curation,
    group,
    sessionsOf: (endpoint) => sessions.of(endpoint),
  });
  const outer = endpoints.addAggregate(aggregate);
  const curate = (changed: Curation): void => {
    curation.set(changed);
    for (const each of all()) each.onCurated();
  };
  return { endpoints, aggregates: all, curate, parts };
}
