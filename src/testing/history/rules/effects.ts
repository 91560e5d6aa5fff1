import type { CallIndex, CallRecord } from '../CallIndex.js';
import { nameOf } from '../describe.js';
import type { Violation } from '../Violation.js';

/** Effects of one call that convict together with one error of it: it may have many of both. */
const MAX_SHOWN = 3;

/** A call takes effect once, and its error says truly whether it did. */
export function* effects(index: CallIndex): Generator<Violation> {
  for (const record of index.calls.values()) {
    const { call, invokes, settles } = record;
    const [invoke] = invokes;
    // What a gateway's own pool made for another call has no effects under its own name.
    if (invoke === undefined || call.includes('/')) continue;
    const begun = record.effects.filter(({ phase }) => phase === 'begin');
    const own = begun.filter(({ goesOn }) => goesOn !== true);
    if (own.length > 1 && invoke.idempotent !== true) {
      const message = `${nameOf(invoke)} took effect ${own.length} times, and is not idempotent`;
      yield { rule: 'repeated-effect', call, message, events: [invoke, ...own, ...settles] };
    }
    for (const settle of settles) {
      if (settle.type !== 'failure' || settle.acted !== 'no' || begun.length === 0) continue;
      const message = `${nameOf(invoke)} failed with ${settle.code}, which says that it never ran, and its server ran it`;
      yield { rule: 'acted-no', call, message, events: [invoke, ...begun.slice(0, MAX_SHOWN), settle] };
    }
    const answer = settles.find(({ type }) => type === 'answer');
    if (answer !== undefined && begun.length === 0 && invoke.method === 'tools/call' && reports(index, record)) {
      yield {
        rule: 'no-effect',
        call,
        message: `${nameOf(invoke)} was answered, and its server never ran it`,
        events: [invoke, answer],
      };
    }
  }
}

const reports = (index: CallIndex, { invokes }: CallRecord): boolean => index.reporting.has(invokes[0]?.server ?? '');
