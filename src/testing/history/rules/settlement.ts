import type { CallIndex, CallRecord } from '../CallIndex.js';
import { nameOf } from '../describe.js';
import type { Violation } from '../Violation.js';

/** Every call settles once, in time, and by an answer where nothing could fail it. */
export function* settlement(index: CallIndex, lastMs: number): Generator<Violation> {
  for (const record of index.calls.values()) {
    const { call, invokes, settles } = record;
    const [invoke] = invokes;
    if (invoke === undefined) {
      if (settles.length > 0) {
        yield { rule: 'unknown-call', call, message: `call ${call} settled, and was never made`, events: settles };
      }
      continue;
    }
    if (settles.length > 1) {
      const events = [invoke, ...settles];
      yield { rule: 'settled-twice', call, message: `${nameOf(invoke)} settled ${settles.length} times`, events };
    }
    const [settle] = settles;
    if (settle === undefined && index.ended) {
      yield { rule: 'unsettled', call, message: `${nameOf(invoke)} never settled`, events: [invoke] };
    }
    yield* late(index, record, settle?.atMs ?? lastMs, index.ended || settle !== undefined);
    if (invoke.expect === 'answer' && settle?.type === 'failure' && record.cancels.length === 0) {
      const message = `${nameOf(invoke)} failed with ${settle.code} though nothing was wrong with its server`;
      yield { rule: 'expected-answer', call, message, events: [invoke, settle] };
    }
  }
}

function* late(
  index: CallIndex,
  { call, invokes, settles }: CallRecord,
  untilMs: number,
  known: boolean,
): Generator<Violation> {
  const [invoke] = invokes;
  if (invoke?.withinMs === undefined || !known) return;
  const tookMs = untilMs - invoke.atMs;
  if (tookMs <= invoke.withinMs || tookMs - index.withheldMs(invoke.atMs, untilMs) <= invoke.withinMs) return;
  const message = `${nameOf(invoke)} took ${Math.round(tookMs)} ms, and ${invoke.withinMs} ms was promised`;
  yield { rule: 'late', call, message, events: [invoke, ...settles] };
}
