import type { CallIndex } from '../CallIndex.js';
import { nameOf } from '../describe.js';
import type { EffectEvent } from '../HistoryEvent.js';
import type { Violation } from '../Violation.js';

/** Faults under which a server cannot hear that a call was cancelled. */
const DEAF =
  /drop|hang|deaf|stdin|cut|reset|refuse|crash|exit|kill|half|truncate|lost|slow|stall|cancel|garbage|close/i;

/** A cancelled call is not answered, and the server that works on it is told. */
export function* cancels(index: CallIndex, cancelSlackMs: number): Generator<Violation> {
  for (const { call, invokes, cancels, settles, effects, faults } of index.calls.values()) {
    const [invoke] = invokes;
    const [cancel] = cancels;
    if (invoke === undefined || cancel === undefined) continue;
    const answer = settles.find((settle) => settle.type === 'answer' && index.placeOf(settle) > index.placeOf(cancel));
    if (answer !== undefined) {
      const message = `${nameOf(invoke)} was cancelled, and answered all the same`;
      yield { rule: 'cancelled-answered', call, message, events: [invoke, cancel, answer] };
    }
    // A cancel may overtake a call that is on its way: only a server that was at work must hear of it.
    // It may have begun several times: one that asks goes on when it comes again with the replies.
    const place = effects.findLastIndex(({ phase, atMs }) => phase === 'begin' && atMs <= cancel.atMs);
    const begin = effects[place];
    if (begin === undefined) continue;
    const end =
      effects.slice(place).find(({ phase }) => phase === 'end') ?? workedOn(index, begin, cancel.atMs + cancelSlackMs);
    const told = effects.some(({ phase }) => phase === 'cancelled');
    if (end === undefined || told || [...faults].some((fault) => DEAF.test(fault))) continue;
    const workedMs = end.atMs - cancel.atMs;
    if (workedMs <= cancelSlackMs || workedMs - index.withheldMs(cancel.atMs, end.atMs) <= cancelSlackMs) continue;
    const message = `${nameOf(invoke)} was cancelled, and ${Math.round(workedMs)} ms later its server still worked on it`;
    // One that was on its way when another call's fault reset all connections is lost like everything else on them.
    if (index.refusedBetween(begin.server, cancel.atMs - cancelSlackMs, cancel.atMs + cancelSlackMs)) continue;
    yield {
      rule: 'cancel-lost',
      call,
      message,
      events: [invoke, ...effects, cancel, ...(effects.includes(end) ? [] : [end])],
    };
  }
}

/** A call that never ended: its server began another one in the same session after that time, so that it was there to be told. */
function workedOn(index: CallIndex, begin: EffectEvent, afterMs: number): EffectEvent | undefined {
  return begin.pid === undefined || begin.session === undefined ? undefined : index.lastBegun(begin, afterMs);
}
