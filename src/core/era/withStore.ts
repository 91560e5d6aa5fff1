import type { Clock } from '../clock.js';
import type { Logger } from '../logger.js';
import { within } from '../time/within.js';
import type { EraStore } from './EraStore.js';

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
