import type { Clock } from '../../../core/clock.js';
import type { Logger } from '../../../core/logger.js';
import type { ListKind, McpPool } from '../../../pool/McpPool.js';
import type { Callers } from '../../session/callers/Callers.js';
import { type ListIndex, NO_INDEX } from '../uris/ListIndex.js';
import type { Known, ListHints } from './KnownLists.js';

export interface CatalogOptions {
  readonly pool: McpPool;
  readonly callers: Callers;
  /** Longest that one server's list may take, in ms. */
  readonly listTimeoutMs: number;
  /** Longest that a client waits for a server, in ms: what comes later is told as a change. */
  readonly serverWaitMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Aborts what is being listed. */
  readonly signal: AbortSignal;
}

/** What one server offers; `missing` when that is not known now. */
export interface ServerList<T> {
  readonly server: string;
  readonly items: readonly T[];
  readonly index: ListIndex;
  readonly hints: ListHints;
  readonly missing: boolean;
}

export const NO_ITEMS: readonly never[] = Object.freeze([]);

/** The capability that a server has which offers lists of that kind. */
export const capabilityOf = (kind: ListKind): 'tools' | 'prompts' | 'resources' =>
  kind === 'resourceTemplates' ? 'resources' : kind;

/** `nowMs`: what is left then of the time for which its server's list holds. */
export function listOf<T>(server: string, known: Known<T> | undefined, nowMs: number): ServerList<T> {
  const { items = NO_ITEMS, index = NO_INDEX, hints = {}, untilMs } = known ?? {};
  const left = untilMs === undefined ? {} : { ttlMs: Math.max(0, untilMs - nowMs) };
  return { server, items, index, hints: { ...hints, ...left }, missing: known === undefined };
}
