import type { Clock } from '../../../core/clock.js';
import type { EraStore } from '../../../core/era/EraStore.js';
import { StartError } from '../../../core/errors.js';
import type { Logger } from '../../../core/logger.js';
import { within } from '../../../core/time/within.js';
import type { Era } from '../../../registry/config/ServerConfig.js';

/** The longest that a store is waited for, in ms. */
const MAX_STORE_MS = 5_000;

/** A start, as far as a store matters to it. */
export interface StoreContext {
  readonly pool: { readonly eraStore: EraStore | undefined; readonly logger: Logger; readonly clock: Clock };
  readonly leftMs: () => number;
  readonly signal: AbortSignal;
}

/** Undefined without a store, and when it fails or does not answer, which is logged: it leaves a start most of its time. */
export async function withStore<T>(
  { pool: { eraStore, logger, clock }, leftMs, signal }: StoreContext,
  doing: 'read' | 'written',
  run: (store: EraStore) => Promise<T>,
): Promise<T | undefined> {
  if (eraStore === undefined) return undefined;
  const timeoutMs = Math.min(leftMs() / 4, MAX_STORE_MS);
  const asked = async (): Promise<T> => run(eraStore);
  const late = (): Error => new Error(`it has not answered within ${Math.round(timeoutMs)} ms`);
  try {
    return await within(asked(), { clock, timeoutMs, late, signal });
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
