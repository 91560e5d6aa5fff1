/** How calls are spread over several targets of one server, beside the choice of a target. */
export interface SeveralSettings {
  /** The zone of this side: targets there get all calls while one of them is healthy. @defaultValue all zones alike */
  readonly zone?: string;
  /**
   * A call that may be repeated is sent to a second target when the first has not answered `after` so many ms from 0, or after a
   * quantile of the recent latencies (`'p50'` to `'p99.9'`); the first answer counts, the other call is cancelled.
   * @defaultValue none: nothing is hedged
   */
  readonly hedge?: { readonly after: number | `p${number}` };
  /**
   * Retries on another target, and hedges, per call, from 0 (none) to 1: more are not made, so that trouble does not grow the
   * load. What provably never ran is not counted while its target was not reached.
   * @defaultValue 0.2
   */
  readonly retryRatio?: number;
  /** When a target is left alone for a while, by what calls to it show: see `OutlierDetector`. @defaultValue its defaults */
  readonly outliers?: OutlierSettings;
  /**
   * How long a target that `apply` removed may go on with its calls and sessions, in ms from 0; 0: they end at once. New ones go
   * elsewhere.
   * @defaultValue 30000
   */
  readonly drainMs?: number;
}

/** When a target is ejected, and for how long. */
export interface OutlierSettings {
  /** Failures in a row that eject: a whole number from 1, or `Infinity` for never. @defaultValue 5 */
  readonly consecutiveFailures?: number;
  /** Share of failed calls of an interval that ejects, from 0.01 to 1, or `Infinity` for never. @defaultValue 0.5 */
  readonly failureRatio?: number;
  /** How many times the median latency of all targets one may take, from 1.1, or `Infinity` for any. @defaultValue 5 */
  readonly latencyFactor?: number;
  /** Calls of an interval below which its shares and latencies eject nothing: a whole number from 1. @defaultValue 10 */
  readonly minCalls?: number;
  /** How often shares and latencies are looked at, in ms from 10. @defaultValue 1000 */
  readonly intervalMs?: number;
  /** The first ejection of a target, in ms from 1; each more in a row takes that much longer. @defaultValue 5000 */
  readonly ejectionMs?: number;
  /** The longest ejection, in ms from `ejectionMs`. @defaultValue 60000 */
  readonly maxEjectionMs?: number;
  /** Share of the targets that may be out at a time, from 0 (none ever) to 1. @defaultValue 0.5 */
  readonly maxEjectedRatio?: number;
  /** How long a target that comes back takes to its full weight, in ms from 0; 0: at once. @defaultValue 10000 */
  readonly slowStartMs?: number;
}
