import type { Resolved } from '../../../core/options.js';

export interface RecordOptions {
  /** What the history calls this part. @defaultValue 'pool', 'gateway' or 'client' */
  readonly part?: string;
  /** Whether calls get their name in `_meta`, so that what a server does and sends can be told apart. @defaultValue true */
  readonly stamp?: boolean;
  /** What each call is given to settle in, in ms; `Infinity`: any time. @defaultValue Infinity */
  readonly withinMs?: number;
  /** Asked at each call: true when nothing that could fail it is going on, so that a failure convicts. @defaultValue never */
  readonly expect?: () => boolean;
  /** Clients: on whose behalf all of its calls are. @defaultValue none */
  readonly principal?: string;
  /** Clients: the session all of its calls belong to. @defaultValue none */
  readonly session?: string;
}

export const RECORD_DEFAULTS = Object.freeze({
  stamp: true,
  withinMs: Number.POSITIVE_INFINITY,
});

/** The options with their defaults. */
export type RecordSettings = Resolved<RecordOptions, typeof RECORD_DEFAULTS & { readonly part: string }>;
