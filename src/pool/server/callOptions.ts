import type { Names } from '../../core/options.js';
import type { Caller, RequestOptions } from '../McpPool.js';

/** The names of the options of calls: an option that is misspelt would be one that is silently left out. */
export const REQUEST_OPTIONS: Readonly<Record<string, true>> = {
  signal: true,
  cancellation: true,
  raw: true,
  paramsText: true,
  client: true,
  toolDefinition: true,
  acquireTimeoutMs: true,
  sessionWaitMs: true,
  timeoutMs: true,
  resetTimeoutOnProgress: true,
  maxTotalTimeoutMs: true,
  lastSend: true,
  untilMs: true,
  onLarge: true,
  caller: true,
  meta: true,
  meter: true,
  onProgress: true,
  onNotification: true,
  onRequest: true,
  attributedOnly: true,
  idempotent: true,
  deadlineMs: true,
  parent: true,
  pauseWhileAsked: true,
} satisfies Names<RequestOptions>;
export const NOTIFY_OPTIONS: Names<{ caller: Caller; signal: AbortSignal }> = { caller: true, signal: true };
export const LEASE_OPTIONS = { ...NOTIFY_OPTIONS, acquireTimeoutMs: true } as const;
export const SUBSCRIBE_OPTIONS = { ...NOTIFY_OPTIONS, onNotification: true } as const;

/** The same with a signal, for what knows nothing else. */
export function withSignal<O extends Pick<RequestOptions, 'signal' | 'cancellation'>>(options: O): O {
  const { cancellation, ...rest } = options;
  return cancellation === undefined ? options : ({ ...rest, signal: cancellation.signal } as O);
}
