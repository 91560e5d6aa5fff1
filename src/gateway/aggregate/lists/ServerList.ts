import type { ListKind } from '../../../pool/McpPool.js';
import { type ListIndex, NO_INDEX } from '../uris/ListIndex.js';
import type { Known, ListHints } from './KnownLists.js';

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
