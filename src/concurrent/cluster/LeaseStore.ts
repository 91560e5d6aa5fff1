/** Permits lent by the fleet's store, charged to us until `end`, or until the store takes them for lost. */
export interface Lease {
  /** What our clock read before the store was asked for it: it is charged from then on, at the latest. */
  readonly sentMs: number;
  /** Gives the place in the limit back; idempotent. Only when a window has passed since the last permit was used. */
  end(): void;
}

/** Where a `PermitBlocks` gets its permits. */
export interface LeaseStore {
  /**
   * Asks for `weight` permits in one lease, as soon as the limit has them. Calls `granted` at most once; never when the
   * store is lost meanwhile.
   */
  lease(weight: number, granted: (lease: Lease) => void): void;
  /** It answers, and too late to be of use: it counts as lost from here on. */
  giveUp(error: Error): void;
}
