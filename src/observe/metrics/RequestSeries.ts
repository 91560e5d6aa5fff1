import type { TracedRequest } from '../requests/requestTrace.js';
import { Histogram } from './Histogram.js';
import { methodLabel } from './Labels.js';

/** What the requests of clients came to. */
export class RequestSeries {
  readonly durations = new Map<string, Histogram>();
  readonly counts = new Map<
    string,
    { readonly method: string; readonly era: string; readonly outcome: string; count: number }
  >();

  ended({ method: asked, era, outcome = 'ok', durationMs }: TracedRequest): void {
    const method = methodLabel(asked);
    const key = `${method} ${era} ${outcome}`;
    const known = this.counts.get(key);
    if (known === undefined) this.counts.set(key, { method, era, outcome, count: 1 });
    else known.count++;
    let duration = this.durations.get(method);
    if (duration === undefined) {
      duration = new Histogram();
      this.durations.set(method, duration);
    }
    duration.recordMs(durationMs);
  }
}
