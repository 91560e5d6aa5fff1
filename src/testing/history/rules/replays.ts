import type { HistoryEvent } from '../HistoryEvent.js';
import type { Violation } from '../Violation.js';

/** A replay goes as it was recorded. */
export function* replays(events: readonly HistoryEvent[]): Generator<Violation> {
  for (const event of events) {
    if (event.type !== 'divergence') continue;
    const { server, what, call } = event;
    const message = `${server}: ${what}`;
    yield { rule: 'diverged', message, events: [event], ...(call !== undefined && { call }) };
  }
}
