/** Which era a server was found to speak, and when. */
export interface EraVerdict {
  readonly era: 'legacy' | 'modern';
  /** The modern version agreed on. */
  readonly version?: string;
  /** The transport that a URL without a type was found to speak. */
  readonly transport?: 'http' | 'sse';
  /** Epoch ms. */
  readonly at: number;
}

/** Remembers verdicts by config fingerprint: a pool's `eraStore`. A store that fails is logged and asked again next time. */
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
