import type { Clock } from '../../core/clock.js';
import type { Logger } from '../../core/logger.js';
import type { Era } from '../../registry/ServerConfig.js';

/** Which era a server was found to speak, and when. */
export interface EraVerdict {
  readonly era: Era;
  /** The modern version agreed on. */
  readonly version?: string;
  /** The wire that a URL without a type was found to speak. */
  readonly transport?: 'http' | 'sse';
  /** Epoch ms. */
  readonly at: number;
}

/** Remembers verdicts by config fingerprint. A store that fails is logged and asked again next time. */
export interface EraStore {
  get(fingerprint: string): Promise<EraVerdict | undefined>;
  set(fingerprint: string, verdict: EraVerdict): Promise<void>;
  delete(fingerprint: string): Promise<void>;
}

/** A store for one process. */
export class MemoryEraStore implements EraStore {
  readonly #verdicts = new Map<string, EraVerdict>();

  async get(fingerprint: string): Promise<EraVerdict | undefined> {
    return this.#verdicts.get(fingerprint);
  }

  async set(fingerprint: string, verdict: EraVerdict): Promise<void> {
    this.#verdicts.set(fingerprint, verdict);
  }

  async delete(fingerprint: string): Promise<void> {
    this.#verdicts.delete(fingerprint);
  }
}

/**
 * The era a store remembers for a server, else what `probe` finds, remembered if it was evidence. A store that fails is
 * logged and asked again next time: it never stands in the way of a start.
 */
export async function rememberedEra(
  {
    eraStore,
    logger,
    clock,
  }: { readonly eraStore: EraStore | undefined; readonly logger: Logger; readonly clock: Clock },
  fingerprint: string,
  probe: () => Promise<{ readonly era: Era; readonly version?: string; readonly evidence: boolean }>,
): Promise<Era> {
  const known = await eraStore?.get(fingerprint).catch((error: unknown) => {
    logger.warn({ error }, 'the era store cannot be read');
    return undefined;
  });
  if (known !== undefined) return known.era;
  const { era, version, evidence } = await probe();
  if (evidence) {
    const verdict = { era, at: clock.wallNow(), ...(version !== undefined && { version }) };
    await eraStore
      ?.set(fingerprint, verdict)
      .catch((error: unknown) => logger.warn({ error }, 'the era store cannot be written'));
  }
  return era;
}
