import type { HistoryEvent, HoldEvent, LimitEvent, PermitEvent } from '../HistoryEvent.js';
import type { Violation } from '../Violation.js';

/** No window of a rate limit holds more permits, and no moment of a bound more holds, than it may. */
export function* limits(events: readonly HistoryEvent[]): Generator<Violation> {
  const bounds = new Map<string, LimitEvent>();
  const permits = new Map<string, PermitEvent[]>();
  const held = new Map<string, HoldEvent[]>();
  const told = new Set<string>();
  for (const event of events) {
    switch (event.type) {
      case 'limit':
        bounds.set(event.limit, event);
        break;
      case 'permit':
        list(permits, event.limit).push(event);
        break;
      case 'hold': {
        const holds = list(held, event.limit);
        holds.push(event);
        const bound = bounds.get(event.limit);
        if (
          bound?.windowMs === undefined &&
          bound !== undefined &&
          holds.length > bound.max &&
          !told.has(event.limit)
        ) {
          told.add(event.limit);
          const message = `${event.limit}: ${holds.length} were held at once, ${bound.max} may be`;
          yield { rule: 'limit', message, events: [bound, ...holds.slice(-6)] };
        }
        break;
      }
      case 'release': {
        const holds = list(held, event.limit);
        const index = holds.findIndex(({ call }) => call === event.call);
        // One that was never taken gives nothing back.
        if (index >= 0) holds.splice(index, 1);
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

function list<T>(map: Map<string, T[]>, key: string): T[] {
  let items = map.get(key);
  if (items === undefined) {
    items = [];
    map.set(key, items);
  }
  return items;
}
