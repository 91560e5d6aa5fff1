import type { HistoryEvent } from './HistoryEvent.js';

/** Each thing a history can be convicted of. */
export const RULES = Object.freeze({
  unsettled: 'every call settles before the history ends',
  'settled-twice': 'no call settles more than once',
  'unknown-call': 'nothing settles that was not called',
  late: 'a call settles within the time it was promised',
  'expected-answer': 'a call that nothing could fail is answered',
  'wrong-receiver': 'what a server sends reaches the call, session and principal it belongs to',
  'repeated-effect': 'a call that is not marked idempotent takes effect once',
  'acted-no': 'an error that says that the server did not act tells the truth',
  'no-effect': 'an answer comes from a server that acted',
  'cancelled-answered': 'a cancelled call is not answered',
  'cancel-lost': 'a server is told that a call it works on was cancelled',
  'progress-order': 'progress rises, and ends with its call',
  limit: 'no window and no moment holds more than its limit',
  'alive-after-close': 'nothing lives, and nothing comes, after close',
  diverged: 'a replay goes as it was recorded',
  incomplete: 'a history that dropped events acquits no one',
} as const);

export type Rule = keyof typeof RULES;

/** One conviction. */
export interface Violation {
  readonly rule: Rule;
  /** In one sentence: who did what. */
  readonly message: string;
  readonly call?: string;
  /** The events that convict, in the order of the history. */
  readonly events: readonly HistoryEvent[];
}
