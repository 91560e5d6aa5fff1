import type { CallIndex } from '../CallIndex.js';
import { nameOf } from '../describe.js';
import type { ProgressEvent } from '../HistoryEvent.js';
import type { Violation } from '../Violation.js';

/** The progress of a call rises, and none comes once it has settled. */
export function* progress(index: CallIndex): Generator<Violation> {
  for (const { call, invokes, settles, progress, faults, effects } of index.calls.values()) {
    const [invoke] = invokes;
    if (invoke === undefined || progress.length === 0) continue;
    const [settle] = settles;
    // A server that was made to lie about its order is not the pool's fault; a call that is run again begins anew.
    const runs = effects.filter(({ phase }) => phase === 'begin').length;
    const again = invoke.idempotent === true && (runs > 1 || !index.reporting.has(invoke.server));
    const disordered = again || [...faults].some((fault) => /order|duplicate/i.test(fault));
    let before: ProgressEvent | undefined;
    for (const event of progress) {
      if (settle !== undefined && index.placeOf(event) > index.placeOf(settle)) {
        const message = `${nameOf(invoke)} got progress after it had settled`;
        yield { rule: 'progress-order', call, message, events: [invoke, settle, event] };
        break;
      }
      if (before !== undefined && event.progress <= before.progress && !disordered) {
        const message = `${nameOf(invoke)} got progress ${event.progress} after ${before.progress}`;
        yield { rule: 'progress-order', call, message, events: [invoke, before, event] };
        break;
      }
      before = event;
    }
  }
}
