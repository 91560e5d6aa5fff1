import { type StoreContext, withStore } from '../../../core/era/withStore.js';
import { StartError } from '../../../core/errors.js';
import type { Era } from '../../../registry/config/ServerConfig.js';

/** What a probe found; `evidence` is false when the server said nothing, which proves neither era. */
export interface EraFinding {
  readonly era: Era;
  readonly version?: string;
  readonly evidence: boolean;
}

/**
 * Starts a server in the era that a store remembers for it, else in the one that `probe` finds, remembered if it was
 * evidence. A modern verdict whose start fails may be stale: it is deleted, and what a new probe finds is tried, once.
 */
export async function startInEra<T>(
  request: StoreContext,
  fingerprint: string,
  probe: () => Promise<EraFinding>,
  start: (era: Era) => Promise<T>,
): Promise<T> {
  const find = async (): Promise<Era> => {
    const { era, version, evidence } = await probe();
    const verdict = { era, at: request.pool.clock.wallNow(), ...(version !== undefined && { version }) };
    if (evidence) await withStore(request, 'written', (store) => store.set(fingerprint, verdict));
    return era;
  };
  const known = await withStore(request, 'read', (store) => store.get(fingerprint));
  if (known === undefined) return start(await find());
  try {
    return await start(known.era);
  } catch (error) {
    // Legacy needs no second look: a server that has become modern says so and is followed.
    if (known.era !== 'modern' || !(error instanceof StartError)) throw error;
    await withStore(request, 'written', (store) => store.delete(fingerprint));
    const era = await find();
    if (era === 'modern') throw error;
    return start(era);
  }
}
