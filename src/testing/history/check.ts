import { OptionError } from '../../core/errors.js';
import { checkArray, checkMs, checkString, withDefaults } from '../../core/options.js';
import { CallIndex } from './CallIndex.js';
import { History } from './History.js';
import type { HistoryEvent } from './HistoryEvent.js';
import { cancels } from './rules/cancels.js';
import { closing } from './rules/closing.js';
import { effects } from './rules/effects.js';
import { limits } from './rules/limits.js';
import { progress } from './rules/progress.js';
import { receivers } from './rules/receivers.js';
import { replays } from './rules/replays.js';
import { settlement } from './rules/settlement.js';
import { Verdict } from './Verdict.js';
import { RULES, type Rule, type Violation } from './Violation.js';

export interface CheckOptions {
  /** How long after a cancel a server may still work on the call without having heard of it, in ms from 0. @defaultValue 2000 */
  readonly cancelSlackMs?: number;
  /** Rules that are not asked. @defaultValue [] */
  readonly except?: readonly Rule[];
  /** What the verdict calls this run, such as its seed. @defaultValue none */
  readonly label?: string;
}

export const CHECK_DEFAULTS = Object.freeze({ cancelSlackMs: 2_000 });

/** Judges a history by every rule of `RULES`. It convicts only of what is sure. @throws OptionError */
export function check(history: History | readonly HistoryEvent[], options: CheckOptions = {}): Verdict {
  const {
    cancelSlackMs,
    except = [],
    label,
  } = withDefaults('check', options, CHECK_DEFAULTS, { except: true, label: true });
  if (label !== undefined) checkString('label', label);
  checkMs('cancelSlackMs', cancelSlackMs, { infinity: true });
  for (const rule of checkArray('except', except, 'an array of rules')) {
    if (!Object.hasOwn(RULES, rule)) throw new OptionError('except', rule, `one of ${Object.keys(RULES).join(', ')}`);
  }
  const events =
    history instanceof History ? history.events : checkArray('history', history, 'a History or its events');
  const index = new CallIndex(events);
  const violations: Violation[] = [
    ...settlement(index, events.at(-1)?.atMs ?? 0),
    ...receivers(index),
    ...effects(index),
    ...cancels(index, cancelSlackMs),
    ...progress(index),
    ...limits(events),
    ...closing(index),
    ...replays(events),
    ...dropped(history),
  ];
  return new Verdict(
    events,
    violations.filter(({ rule }) => !except.includes(rule)),
    label,
  );
}

function dropped(history: History | readonly HistoryEvent[]): Violation[] {
  if (!(history instanceof History) || history.dropped === 0) return [];
  return [{ rule: 'incomplete', message: `${history.dropped} events were not kept`, events: [] }];
}
