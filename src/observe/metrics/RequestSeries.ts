import type { TracedRequest } from '../requests/requestTrace.js';
import { Histogram } from './Histogram.js';
import { methodLabel } from './Labels.js';

interface RequestCount {
  readonly method: string;
  readonly era: string;
  readonly outcome: string;
  count: number;
}

/** What the requests of clients came to. */
export class RequestSeries {
  readonly durations = new Map<string, Histogram>();
  readonly counts = new Map<string, RequestCount>();
  #newest: RequestCount | undefined;

  ended({ method: asked, era, outcome = 'ok', durationMs }: TracedRequest): void {
    const method = methodLabel(asked);
    const newest = this.#newest;
    // Most requests are of the kind of the one before.
    const same = newest?.method === method && newest.era === era && newest.outcome === outcome;
    const known = same ? newest : this.#count(method, era, outcome);
    known.count++;
    this.#newest = known;
    let duration = this.durations.get(method);
    if (duration === undefined) {
      duration = new Histogram();
      this.durations.set(method, duration);
    }
    duration.recordMs(durationMs);
  }

  #count(method: string, era: string, outcome: string): RequestCount {
    const key = `${method} ${era} ${outcome}`;
    const known = this.counts.get(key) ?? { method, era, outcome, count: 0 };
    this.counts.set(key, known);
    return known;
  }
}
