import type { CallSeries } from '../../observe/metrics/CallSeries.js';
import type { McpPool } from '../../pool/McpPool.js';
import type { Point } from './StatusData.js';

export const STEP_MS = 5_000;
/** Of 15 minutes. */
export const POINTS = 180;

/** The last 15 minutes of each server, a look every 5 seconds: what the page's charts show when it opens. */
export class StatusHistory {
  readonly #pool: McpPool;
  readonly #series: (server: string) => CallSeries | undefined;
  readonly #points = new Map<string, Point[]>();
  readonly #times: number[] = [];
  /** The newest window of each server, for the table. */
  readonly newest = new Map<string, Point>();

  constructor(pool: McpPool, series: (server: string) => CallSeries | undefined) {
    this.#pool = pool;
    this.#series = series;
  }

  /** Epoch ms of the looks, oldest first. */
  get times(): readonly number[] {
    return this.#times;
  }

  /** As many as there are times; null before the server was there. */
  of(server: string): readonly (Point | null)[] {
    const points = this.#points.get(server) ?? [];
    return [...new Array<null>(this.#times.length - points.length).fill(null), ...points];
  }

  /** Takes a look; gives what it saw. */
  look(nowMs: number): ReadonlyMap<string, Point> {
    this.#times.push(nowMs);
    if (this.#times.length > POINTS) this.#times.shift();
    const all = this.#pool.allStats();
    const names = new Set(all.map(({ name }) => name));
    for (const name of this.#points.keys()) if (!names.has(name)) this.#points.delete(name);
    this.newest.clear();
    for (const { name, inFlight, queued, memoryBytes } of all) {
      const series = this.#series(name);
      const window = series?.takeWindow();
      const point: Point = {
        calls: ((window?.calls ?? 0) * 1_000) / STEP_MS,
        errors: ((window?.errors ?? 0) * 1_000) / STEP_MS,
        p50: rounded(window?.p50Ms),
        p99: rounded(window?.p99Ms),
        inFlight: series?.inFlight ?? inFlight,
        waiting: series?.waiting ?? queued,
        memory: memoryBytes ?? null,
      };
      const points = this.#points.get(name) ?? [];
      points.push(point);
      if (points.length > POINTS) points.shift();
      this.#points.set(name, points);
      this.newest.set(name, point);
    }
    return this.newest;
  }
}

function rounded(ms: number | undefined): number | null {
  return ms === undefined ? null : Number(ms.toPrecision(3));
}
