import { entryOf } from '../entryOf.js';
import type { HistoryEvent, HoldEvent, LimitEvent, PermitEvent } from '../HistoryEvent.js';
import type { Violation } from '../Violation.js';

/** No window of a rate limit holds more permits, and no moment of a bound more holds, than it may. */
export function* limits(events: readonly HistoryEvent[]): Generator<Violation> {
  const bounds = new Map<string, LimitEvent>();
  const permits = new Map<string, PermitEvent[]>();
  const held = new Map<string, Held>();
  const told = new Set<string>();
  for (const event of events) {
    switch (event.type) {
      case 'limit':
        bounds.set(event.limit, event);
        break;
      case 'permit':
        entryOf(permits, event.limit, () => []).push(event);
        break;
      case 'hold': {
        const holds = entryOf(held, event.limit, () => new Held());
        holds.add(event);
        const bound = bounds.get(event.limit);
        if (bound?.windowMs === undefined && bound !== undefined && holds.size > bound.max && !told.has(event.limit)) {
          told.add(event.limit);
          const message = `${event.limit}: ${holds.size} were held at once, ${bound.max} may be`;
          yield { rule: 'limit', message, events: [bound, ...holds.last(6)] };
        }
        break;
      }
      case 'release': {
        held.get(event.limit)?.release(event.call);
        break;
      }
      default:
    }
  }
  for (const [name, all] of permits) {
    const bound = bounds.get(name);
    if (bound?.windowMs !== undefined) yield* windows(bound, bound.windowMs, all);
  }
}

/**
 * Each permit was granted at some moment from `sinceMs` to `atMs`. Convicted is only what is sure: permits of more than
 * `max` weight whose earliest and latest possible moments lie within one window.
 */
function* windows(bound: LimitEvent, windowMs: number, permits: readonly PermitEvent[]): Generator<Violation> {
  const byEnd = [...permits].sort((a, b) => a.atMs - b.atMs);
  const byStart = [...permits].sort((a, b) => a.sinceMs - b.sinceMs);
  const inside = new Set<PermitEvent>();
  const expired = new Set<PermitEvent>();
  let weight = 0;
  let oldest = 0;
  for (const permit of byEnd) {
    const fromMs = permit.atMs - windowMs;
    for (let next = byStart[oldest]; next !== undefined && next.sinceMs <= fromMs; next = byStart[++oldest]) {
      if (inside.delete(next)) weight -= next.weight;
      expired.add(next);
    }
    if (expired.has(permit)) continue;
    inside.add(permit);
    weight += permit.weight;
    if (weight > bound.max) {
      const message = `${bound.limit}: ${weight} permits within ${windowMs} ms, ${bound.max} may be`;
      yield { rule: 'limit', message, events: [bound, ...[...inside].slice(0, 3), ...[...inside].slice(-3)] };
      return;
    }
  }
}

/** What is held of one bound, and by which calls. */
class Held {
  readonly #all = new Set<HoldEvent>();
  readonly #byCall = new Map<string | undefined, HoldEvent[]>();

  get size(): number {
    return this.#all.size;
  }

  add(event: HoldEvent): void {
    this.#all.add(event);
    entryOf(this.#byCall, event.call, () => [] as HoldEvent[]).push(event);
  }

  /** One that was never taken gives nothing back. */
  release(call: string | undefined): void {
    const holds = this.#byCall.get(call);
    const hold = holds?.pop();
    if (hold !== undefined) this.#all.delete(hold);
    if (holds?.length === 0) this.#byCall.delete(call);
  }

  last(count: number): readonly HoldEvent[] {
    return [...this.#all].slice(-count);
  }
}
