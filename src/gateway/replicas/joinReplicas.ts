import { randomBytes } from 'node:crypto';
import type { Clock } from '../../core/clock.js';
import type { Logger } from '../../core/logger.js';
import type { PoolRelay } from '../PoolRelay.js';
import type { SessionTable, SessionTableOptions } from '../session/SessionTable.js';
import type { ReplicaLink } from './ReplicaLink.js';
import { Replicas } from './Replicas.js';

export interface JoinOptions {
  readonly sessions: SessionTable;
  readonly relay: () => PoolRelay;
  readonly sessionLifeMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The gateway as one of the replicas behind `link`; undefined without one. */
export function joinReplicas(
  link: ReplicaLink | undefined,
  { sessions, relay, sessionLifeMs, clock, logger }: JoinOptions,
): Replicas | undefined {
  if (link === undefined) return undefined;
  return new Replicas({
    link,
    sessions,
    onChanged: (change) => relay().changedElsewhere(change),
    onGap: () => relay().changedPerhaps(),
    lifeMs: sessionLifeMs,
    clock,
    logger,
  });
}

/** What sessions know of the replicas. */
export function selfOf(link: ReplicaLink | undefined): Pick<SessionTableOptions, 'replica' | 'isAlive'> {
  // One of which nothing is known may be there.
  const isAlive = async (other: string): Promise<boolean> => {
    try {
      return link === undefined || (await link.isAlive(other));
    } catch {
      return true;
    }
  };
  // What names this process among the replicas, also where it is alone.
  return { replica: link?.id ?? randomBytes(4).toString('hex'), isAlive };
}
