import type { Acted } from '../../core/errors.js';

/**
 * What happened, one flat object an event, so that a line of JSON is one event. `atMs` is epoch milliseconds with a
 * fraction: processes of one machine compare. `call` names a call; what a server sends about a call says so in `of`.
 */
export type HistoryEvent =
  | InvokeEvent
  | AnswerEvent
  | FailureEvent
  | CancelEvent
  | ProgressEvent
  | HeardEvent
  | EffectEvent
  | FaultEvent
  | LimitEvent
  | PermitEvent
  | HoldEvent
  | ReleaseEvent
  | CloseEvent
  | AliveEvent
  | MessageEvent
  | DivergenceEvent
  | WithheldEvent
  | NoteEvent
  | EndEvent;

interface At {
  readonly atMs: number;
}

/** A caller made a call. */
export interface InvokeEvent extends At {
  readonly type: 'invoke';
  readonly call: string;
  /** The recorded part that took it: what a later `closed` event names. */
  readonly part?: string;
  readonly server: string;
  readonly method: string;
  readonly tool?: string;
  readonly principal?: string;
  readonly session?: string;
  /** It may take effect more than once: its caller said so, or it changes nothing. */
  readonly idempotent?: boolean;
  /** `answer`: nothing that could fail it was going on, so that a failure convicts. */
  readonly expect?: 'answer';
  /** It must settle within so many ms. */
  readonly withinMs?: number;
}

/** The call resolved. */
export interface AnswerEvent extends At {
  readonly type: 'answer';
  readonly call: string;
  /** The call that the answer was made for, as its server stamped it. */
  readonly of?: string;
}

/** The call rejected. */
export interface FailureEvent extends At {
  readonly type: 'failure';
  readonly call: string;
  /** The toolkit's code, or the name of the error. */
  readonly code: string;
  /** What the error says of the server: `no` means that it never acted. */
  readonly acted?: Acted;
  readonly message?: string;
  /** The call that the error was made for, as its server stamped its data. */
  readonly of?: string;
}

/** The caller's signal aborted, and the call had not settled one turn of the event loop later. */
export interface CancelEvent extends At {
  readonly type: 'cancel';
  readonly call: string;
}

export interface ProgressEvent extends At {
  readonly type: 'progress';
  readonly call: string;
  readonly progress: number;
  readonly of?: string;
}

/** A notification or a request of a server reached a call, or a listener of a principal and session. */
export interface HeardEvent extends At {
  readonly type: 'notification' | 'request';
  readonly server: string;
  readonly method: string;
  /** The call it was handed to. */
  readonly call?: string;
  readonly part?: string;
  readonly principal?: string;
  readonly session?: string;
  /** The call it is about, as its server stamped it. */
  readonly of?: string;
}

/** What a server saw: it began to act on a call, finished, or was told to stop. */
export interface EffectEvent extends At {
  readonly type: 'effect';
  readonly phase: 'begin' | 'end' | 'cancelled';
  readonly server: string;
  readonly call?: string;
  readonly method?: string;
  readonly tool?: string;
  /** The call had asked its caller, and came again with the replies: no effect of its own. */
  readonly goesOn?: boolean;
  readonly pid?: number;
  readonly session?: string;
}

/** A fault was injected. */
export interface FaultEvent extends At {
  readonly type: 'fault';
  readonly fault: string;
  readonly server?: string;
  readonly call?: string;
  readonly rule?: number | string;
  readonly pid?: number;
}

/** A bound that the history is judged by: `max` permits in any window, or `max` holds at once. */
export interface LimitEvent extends At {
  readonly type: 'limit';
  readonly limit: string;
  readonly max: number;
  /** Without one `max` bounds the holds at once. */
  readonly windowMs?: number;
}

/** A limiter granted `weight` permits, at some moment from `sinceMs` to `atMs`. */
export interface PermitEvent extends At {
  readonly type: 'permit';
  readonly limit: string;
  readonly sinceMs: number;
  readonly weight: number;
}

/** Something bounded was taken: a place on a connection, a connection. */
export interface HoldEvent extends At {
  readonly type: 'hold';
  readonly limit: string;
  readonly call?: string;
}

export interface ReleaseEvent extends At {
  readonly type: 'release';
  readonly limit: string;
  readonly call?: string;
}

/** `close`: a part was asked to close. `closed`: it said that it is. */
export interface CloseEvent extends At {
  readonly type: 'close' | 'closed';
  readonly part: string;
}

/** Found alive after its part said that it is closed. */
export interface AliveEvent extends At {
  readonly type: 'alive';
  readonly part?: string;
  readonly what: string;
}

/** A message that passed a connection, as it is replayed. `from` is the side that sent it. */
export interface MessageEvent extends At {
  readonly type: 'message';
  readonly server: string;
  /** Tells the connections of one recording apart. */
  readonly wire: string;
  readonly from: 'client' | 'server';
  readonly message: Readonly<Record<string, unknown>>;
}

/** A replay did not go as it was recorded. */
export interface DivergenceEvent extends At {
  readonly type: 'divergence';
  readonly server: string;
  /** Where, and what was recorded, and what came. */
  readonly what: string;
  readonly call?: string;
}

/** The machine gave a process no time for the `ms` before: what must happen soon may come later by as much. */
export interface WithheldEvent extends At {
  readonly type: 'withheld';
  readonly ms: number;
  readonly pid?: number;
}

/** For the reader. */
export interface NoteEvent extends At {
  readonly type: 'note';
  readonly text: string;
}

/** Nothing comes after: every call must have settled. */
export interface EndEvent extends At {
  readonly type: 'end';
}

/** An event without its time. */
export type UntimedEvent = HistoryEvent extends infer E ? (E extends HistoryEvent ? Omit<E, 'atMs'> : never) : never;

const TEXT = 'a string';
const NUMBER = 'a number';
const OBJECT = 'an object';

/** The fields each type must have, and their kinds; `?` may be absent. */
export const EVENT_FIELDS: Readonly<Record<HistoryEvent['type'], Readonly<Record<string, string>>>> = {
  invoke: { call: TEXT, server: TEXT, method: TEXT },
  answer: { call: TEXT },
  failure: { call: TEXT, code: TEXT },
  cancel: { call: TEXT },
  progress: { call: TEXT, progress: NUMBER },
  notification: { server: TEXT, method: TEXT },
  request: { server: TEXT, method: TEXT },
  effect: { server: TEXT, phase: TEXT },
  fault: { fault: TEXT },
  limit: { limit: TEXT, max: NUMBER },
  permit: { limit: TEXT, sinceMs: NUMBER, weight: NUMBER },
  hold: { limit: TEXT },
  release: { limit: TEXT },
  close: { part: TEXT },
  closed: { part: TEXT },
  alive: { what: TEXT },
  message: { server: TEXT, wire: TEXT, from: TEXT, message: OBJECT },
  divergence: { server: TEXT, what: TEXT },
  withheld: { ms: NUMBER },
  note: { text: TEXT },
  end: {},
};
