import type { Clock } from '../../../core/clock.js';
import type { EraStore } from '../../../core/era/EraStore.js';
import { StartError } from '../../../core/errors.js';
import type { Logger } from '../../../core/logger.js';
import type { Era } from '../../../registry/config/ServerConfig.js';

export interface StoreContext {
  readonly eraStore: EraStore | undefined;
  readonly logger: Logger;
}

/** Undefined without a store, and when it fails, which is logged: it never stands in the way of a start. */
export async function withStore<T>(
  { eraStore, logger }: StoreContext,
  doing: 'read' | 'written',
  run: (store: EraStore) => Promise<T>,
): Promise<T | undefined> {
  if (eraStore === undefined) return undefined;
  try {
    return await run(eraStore);
  } catch (error) {
    logger.warn({ error }, `the era store cannot be ${doing}`);
    return undefined;
  }
}

/** What a probe found; `evidence` is false when the server said nothing, which proves neither era. */
export interface EraFinding {
  readonly era: Era;
  readonly version?: string;
  readonly evidence: boolean;
}

/**
 * Starts a server in the era that a store remembers for it, else in the one that `probe` finds, remembered if it was
 * evidence. A modern verdict whose start fails may be stale: it is deleted, and what a new probe finds is tried, once.
 * A store that fails is logged and asked again next time: it never stands in the way of a start.
 */
export async function startInEra<T>(
  pool: StoreContext & { readonly clock: Clock },
  fingerprint: string,
  probe: () => Promise<EraFinding>,
  start: (era: Era) => Promise<T>,
): Promise<T> {
  const find = async (): Promise<Era> => {
    const { era, version, evidence } = await probe();
    const verdict = { era, at: pool.clock.wallNow(), ...(version !== undefined && { version }) };
    if (evidence) await withStore(pool, 'written', (store) => store.set(fingerprint, verdict));
    return era;
  };
  const known = await withStore(pool, 'read', (store) => store.get(fingerprint));
  if (known === undefined) return start(await find());
  try {
    return await start(known.era);
  } catch (error) {
    // Legacy needs no second look: a server that has become modern says so and is followed.
    if (known.era !== 'modern' || !(error instanceof StartError)) throw error;
    await withStore(pool, 'written', (store) => store.delete(fingerprint));
    const era = await find();
    if (era === 'modern') throw error;
    return start(era);
  }
}
