import type { CallIndex } from '../CallIndex.js';
import type { CloseEvent, HistoryEvent } from '../HistoryEvent.js';
import type { Violation } from '../Violation.js';

/** After a part said that it is closed, nothing of it lives and nothing comes from it. */
export function* closing(index: CallIndex): Generator<Violation> {
  const closed = new Map<string, CloseEvent>();
  const asked = new Map<string, CloseEvent>();
  for (const event of index.events) {
    if (event.type === 'close' && !asked.has(event.part)) asked.set(event.part, event);
    if (event.type === 'closed') {
      if (!closed.has(event.part)) closed.set(event.part, event);
    } else if (event.type === 'alive') {
      const close = event.part === undefined ? undefined : closed.get(event.part);
      const after = event.part === undefined ? 'at the end' : `after ${event.part} had closed`;
      const events = close === undefined ? [event] : [close, event];
      yield { rule: 'alive-after-close', message: `${event.what} was alive ${after}`, events };
    } else if (closed.size > 0) {
      const part = partOf(index, closed, event);
      const close = part === undefined ? undefined : closed.get(part);
      if (close !== undefined) {
        const message = `${event.type} came from ${part} after it had closed`;
        yield { rule: 'alive-after-close', message, events: [close, event], ...callOf(event) };
      }
    }
  }
  for (const [part, close] of asked) {
    if (!index.ended || closed.has(part)) continue;
    yield { rule: 'alive-after-close', message: `${part} was asked to close, and never had`, events: [close] };
  }
}

/** The part that an event came from, when it tells of life. */
function partOf(index: CallIndex, closed: ReadonlyMap<string, CloseEvent>, event: HistoryEvent): string | undefined {
  switch (event.type) {
    case 'answer':
    case 'progress':
      return index.calls.get(event.call)?.invokes[0]?.part;
    case 'failure': {
      // A call made after the close is refused after it.
      const invoke = index.calls.get(event.call)?.invokes[0];
      const close = closed.get(invoke?.part ?? '');
      if (invoke === undefined || close === undefined) return undefined;
      return index.placeOf(invoke) < index.placeOf(close) ? invoke.part : undefined;
    }
    case 'notification':
    case 'request':
      return event.part;
    default:
      return undefined;
  }
}

function callOf(event: HistoryEvent): { readonly call?: string } {
  return 'call' in event && event.call !== undefined ? { call: event.call } : {};
}
