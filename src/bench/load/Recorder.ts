import { build, decodeFromCompressedBase64, encodeIntoCompressedBase64, type Histogram } from 'hdr-histogram-js';

/** Latencies are kept in microseconds, to three significant digits, up to ten minutes (HdrHistogram). */
const HISTOGRAM = {
  lowestDiscernibleValue: 1,
  highestTrackableValue: 600_000_000,
  numberOfSignificantValueDigits: 3,
} as const;

/** A histogram of latencies in microseconds: quick to record into, and some 90 KB. */
const quick = (): Histogram => build({ bitBucketSize: 32, useWebAssembly: false, ...HISTOGRAM });

/** The same, small and slow: for what is kept in numbers. */
const packed = (): Histogram => build({ bitBucketSize: 'packed', useWebAssembly: false, ...HISTOGRAM });

/** Classes of errors that are told apart, of those whose code a server says. */
const MAX_KINDS = 32;

/** The latency of answered calls, in ms. Undefined figures do not occur: without samples there is no `LatencySummary`. */
export interface LatencySummary {
  readonly min: number;
  readonly mean: number;
  readonly p50: number;
  readonly p90: number;
  readonly p95: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

/** One second of a run: what ended in it. */
export interface Second {
  /** Seconds since measuring began. */
  readonly at: number;
  readonly calls: number;
  readonly errors: number;
  /** The median and 99th percentile of the calls answered in this second, in ms; 0 when there were none. */
  readonly p50: number;
  readonly p99: number;
}

/** A recorder as it travels between processes. */
export interface RecorderData {
  readonly name: string;
  readonly histogram: string;
  readonly queueWait?: string;
  readonly beyond?: string;
  readonly errors: Readonly<Record<string, number>>;
  readonly late: number;
  readonly dropped: number;
  readonly events: number;
  readonly firstMs: number;
  readonly maxUs: number;
  readonly outageMs: number;
  /** Since measuring began, of the first failure that no right answer has followed yet. */
  readonly failingAtMs?: number;
  readonly seconds: readonly { readonly at: number; readonly errors: number; readonly histogram: string }[];
}

interface Bucket {
  errors: number;
  histogram: Histogram;
}

/** What one class of calls did: only answers that were right are samples, everything else is an error by its class. */
export class Recorder {
  readonly name: string;
  readonly errors = new Map<string, number>();
  /** Open model: calls sent more than 10 ms after their intended time. */
  late = 0;
  /** Open model: calls that were never sent, because the limit in flight was reached. */
  dropped = 0;
  /** Notifications that came with calls, such as progress. */
  events = 0;
  readonly #make: () => Histogram;
  #histogram: Histogram;
  #queueWait: Histogram | undefined;
  #beyond: Histogram | undefined;
  readonly #seconds = new Map<number, Bucket>();
  #last: Bucket | undefined;
  /** The exact maximum: the histogram rounds it up. */
  #maxUs = 0;
  #startMs = 0;
  /** Since measuring began, of the first failure that no right answer has followed yet. */
  #failingAtMs: number | undefined;
  #outageMs = 0;

  /** @param many one of many, such as that of each caller: it is small, and slower to record into */
  constructor(name: string, many = false) {
    this.name = name;
    this.#make = many ? packed : quick;
    this.#histogram = this.#make();
  }

  /** Measuring begins now, on the monotonic clock: what was recorded before is forgotten. */
  begin(nowMs: number): void {
    this.#startMs = nowMs;
    this.errors.clear();
    this.late = 0;
    this.dropped = 0;
    this.events = 0;
    this.#maxUs = 0;
    this.#failingAtMs = undefined;
    this.#outageMs = 0;
    this.#histogram = this.#make();
    this.#queueWait = undefined;
    this.#beyond = undefined;
    this.#seconds.clear();
    this.#last = undefined;
  }

  /** One right answer. */
  answered(latencyMs: number, nowMs: number): void {
    const us = Math.min(HISTOGRAM.highestTrackableValue, Math.max(1, Math.round(latencyMs * 1_000)));
    this.#histogram.recordValue(us);
    if (us > this.#maxUs) this.#maxUs = us;
    this.#bucket(nowMs).histogram.recordValue(us);
    this.#outageMs = Math.max(this.#outageMs, this.failingMs(nowMs - this.#startMs) ?? 0);
    this.#failingAtMs = undefined;
  }

  failed(code: string, nowMs: number): void {
    this.#count(code, 1);
    this.#bucket(nowMs).errors++;
    this.#failingAtMs ??= nowMs - this.#startMs;
  }

  /** Codes that a server makes up have no end. */
  #count(code: string, count: number): void {
    const isKnown = this.errors.has(code) || this.errors.size < MAX_KINDS || !code.startsWith('ERR_RPC ');
    const kind = isKnown ? code : 'ERR_RPC other';
    this.errors.set(kind, (this.errors.get(kind) ?? 0) + count);
  }

  /** The time a call waited for a connection before it was sent. */
  waited(ms: number): void {
    this.#queueWait ??= this.#make();
    this.#queueWait.recordValue(Math.min(HISTOGRAM.highestTrackableValue, Math.max(0, Math.round(ms * 1_000))));
  }

  /** What a call took beyond the server's own time, in ms. */
  beyondService(ms: number): void {
    this.#beyond ??= this.#make();
    this.#beyond.recordValue(Math.min(HISTOGRAM.highestTrackableValue, Math.max(0, Math.round(ms * 1_000))));
  }

  get calls(): number {
    return this.#histogram.totalCount;
  }

  get failures(): number {
    let sum = 0;
    for (const count of this.errors.values()) sum += count;
    return sum;
  }

  /** The longest time from a failure to the next right answer, in ms: how long it took to recover. */
  get outageMs(): number {
    return this.#outageMs;
  }

  /** How long it has failed without a right answer when it has taken `durationMs`, in ms; undefined where it does not. */
  failingMs(durationMs: number): number | undefined {
    return this.#failingAtMs === undefined ? undefined : durationMs - this.#failingAtMs;
  }

  get latency(): LatencySummary | undefined {
    return latencyOf(this.#histogram, this.#maxUs);
  }

  get queueWait(): LatencySummary | undefined {
    return latencyOf(this.#queueWait);
  }

  /** Undefined where the server does not say how long it took. */
  get beyond(): LatencySummary | undefined {
    return latencyOf(this.#beyond);
  }

  /** Latency in ms at a percentile from 0 to 100; NaN without samples. */
  percentile(percent: number): number {
    return this.calls === 0 ? Number.NaN : this.#histogram.getValueAtPercentile(percent) / 1_000;
  }

  /** Points of the distribution for a chart: percentile and latency in ms. */
  distribution(): readonly { readonly percentile: number; readonly ms: number }[] {
    if (this.calls === 0) return [];
    const percentiles = [
      0, 5, 10, 20, 30, 40, 50, 60, 70, 75, 80, 85, 90, 92.5, 95, 97, 98, 99, 99.5, 99.9, 99.99, 100,
    ];
    return percentiles.map((percentile) => ({ percentile, ms: this.percentile(percentile) }));
  }

  get seconds(): readonly Second[] {
    return [...this.#seconds.entries()]
      .sort(([a], [b]) => a - b)
      .map(([at, { errors, histogram }]) => ({
        at,
        errors,
        calls: histogram.totalCount,
        p50: histogram.totalCount === 0 ? 0 : histogram.getValueAtPercentile(50) / 1_000,
        p99: histogram.totalCount === 0 ? 0 : histogram.getValueAtPercentile(99) / 1_000,
      }));
  }

  /** `withSeconds: false` leaves out what each second had: a tick needs the sums alone. */
  toData({ withSeconds = true } = {}): RecorderData {
    return {
      name: this.name,
      histogram: encodeIntoCompressedBase64(this.#histogram),
      ...(this.#queueWait !== undefined && { queueWait: encodeIntoCompressedBase64(this.#queueWait) }),
      ...(this.#beyond !== undefined && { beyond: encodeIntoCompressedBase64(this.#beyond) }),
      errors: Object.fromEntries(this.errors),
      late: this.late,
      dropped: this.dropped,
      events: this.events,
      firstMs: this.#startMs,
      maxUs: this.#maxUs,
      outageMs: this.#outageMs,
      ...(this.#failingAtMs !== undefined && { failingAtMs: this.#failingAtMs }),
      seconds: [...(withSeconds ? this.#seconds : [])].map(([at, { errors, histogram }]) => ({
        at,
        errors,
        histogram: encodeIntoCompressedBase64(histogram),
      })),
    };
  }

  /** Adds what another process recorded of the same calls. */
  merge(data: RecorderData): void {
    this.#histogram.add(decodeFromCompressedBase64(data.histogram));
    if (data.queueWait !== undefined) {
      this.#queueWait ??= this.#make();
      this.#queueWait.add(decodeFromCompressedBase64(data.queueWait));
    }
    if (data.beyond !== undefined) {
      this.#beyond ??= this.#make();
      this.#beyond.add(decodeFromCompressedBase64(data.beyond));
    }
    for (const [code, count] of Object.entries(data.errors)) this.#count(code, count);
    this.late += data.late;
    this.dropped += data.dropped;
    this.events += data.events;
    this.#maxUs = Math.max(this.#maxUs, data.maxUs);
    this.#outageMs = Math.max(this.#outageMs, data.outageMs);
    if (data.failingAtMs !== undefined) this.#failingAtMs = Math.min(this.#failingAtMs ?? Infinity, data.failingAtMs);
    for (const { at, errors, histogram } of data.seconds) {
      const bucket = this.#bucketAt(at);
      bucket.errors += errors;
      bucket.histogram.add(decodeFromCompressedBase64(histogram));
    }
  }

  #bucket(nowMs: number): Bucket {
    return this.#bucketAt(Math.max(0, Math.floor((nowMs - this.#startMs) / 1_000)));
  }

  #bucketAt(at: number): Bucket {
    let bucket = this.#seconds.get(at);
    if (bucket === undefined) {
      // The second that is over is packed: a long run has many.
      const last = this.#last;
      if (last !== undefined) {
        const small = packed();
        small.add(last.histogram);
        last.histogram = small;
      }
      bucket = { errors: 0, histogram: this.#make() };
      this.#last = bucket;
      this.#seconds.set(at, bucket);
    }
    return bucket;
  }
}

function latencyOf(histogram: Histogram | undefined, maxUs?: number): LatencySummary | undefined {
  if (histogram === undefined || histogram.totalCount === 0) return undefined;
  const at = (percent: number): number => histogram.getValueAtPercentile(percent) / 1_000;
  return {
    min: at(0),
    mean: histogram.mean / 1_000,
    p50: at(50),
    p90: at(90),
    p95: at(95),
    p99: at(99),
    p999: at(99.9),
    max: (maxUs ?? histogram.maxValue) / 1_000,
  };
}
