import { ProtocolError, RpcError } from '../../core/errors.js';
import { RPC_CODES } from './rpcCodes.js';

/** The legacy era's versions, newest first. */
export const LEGACY_VERSIONS = Object.freeze(['2025-11-25', '2025-06-18', '2025-03-26', '2024-11-05', '2024-10-07']);

/** The modern era's versions, newest first. */
export const MODERN_VERSIONS = Object.freeze(['2026-07-28']);

/** Results that a client may keep, so that a modern one says for how long (2026-07-28, caching). */
const CACHEABLE: ReadonlySet<string> = new Set([
  'tools/list',
  'prompts/list',
  'resources/list',
  'resources/templates/list',
  'resources/read',
  'server/discover',
]);
const COMPLETE = Object.freeze({ resultType: 'complete' });
const NOT_KEPT = Object.freeze({ ...COMPLETE, ttlMs: 0, cacheScope: 'private' });

/** What the modern era has each result of a method say: that it is complete, and not to be kept where it could be. */
export const modernMembers = (method: string): object => (CACHEABLE.has(method) ? NOT_KEPT : COMPLETE);

/** Of an error's words, so much is searched for versions. */
const MAX_WORDS = 2_000;

/** The newest modern version that an answer to `server/discover` names and we speak; undefined for what is no such answer. */
export function modernVersionIn(discovered: unknown): string | undefined {
  const { supportedVersions: named } = (discovered ?? {}) as { readonly supportedVersions?: unknown };
  return Array.isArray(named) ? MODERN_VERSIONS.find((version) => named.includes(version)) : undefined;
}

/** The newest modern version that a -32022 names and we speak; undefined when the error is anything else. */
export function modernVersionOffered(error: unknown): string | undefined {
  if (!(error instanceof RpcError) || error.rpcCode !== RPC_CODES.unsupportedVersion) return undefined;
  const { supported } = (error.data ?? {}) as { supported?: unknown };
  if (!Array.isArray(supported)) return undefined;
  return MODERN_VERSIONS.find((version) => supported.includes(version));
}

/**
 * The newest legacy version that a refusal of `initialize` names and that is older than `asked`. Servers that do not answer
 * with a version of theirs, as they should (lifecycle, version negotiation), say it in the error's data or words, or in the text of a 400.
 */
export function legacyVersionOffered(error: unknown, asked: string): string | undefined {
  if (!(error instanceof RpcError) && !(error instanceof ProtocolError && error.status === 400)) return undefined;
  const data = error instanceof RpcError ? error.data : undefined;
  const listed: unknown[] = typeof data === 'object' && data !== null ? Object.values(data).flat() : [data];
  const words = `${listed.filter((each) => typeof each === 'string').join(' ')} ${error.message}`.slice(0, MAX_WORDS);
  const named: readonly string[] = words.match(/\d{4}-\d{2}-\d{2}/g) ?? [];
  return LEGACY_VERSIONS.find((version) => version < asked && named.includes(version));
}
