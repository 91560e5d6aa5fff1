import { LRUCache } from 'lru-cache';
import { CallResult } from '../../connection/calls/CallResult.js';
import type { Middleware, MiddlewareCall } from '../../connection/calls/Middleware.js';
import { forPoolsAlone } from '../../connection/calls/poolsAlone.js';
import { costsMore, MAX_ANSWER_COST, MAX_READ_BYTES } from '../../connection/channel/codec/parsingCost.js';
import { type Clock, systemClock } from '../../core/clock.js';
import { checkBytes, withDefaults } from '../../core/options.js';
import { keyOf } from '../keyOf.js';
import { isRead } from './coalesce.js';

export interface CacheOptions {
  /** Bytes of all results kept; the least recently used go first. One of more than 8 MiB is not kept. @defaultValue 16777216 */
  readonly maxBytes?: number;
  /** Which calls. @defaultValue lists, reads, and what its caller says may run twice */
  readonly when?: (call: MiddlewareCall) => boolean;
  /** How long a result without a hint of its own is kept, in ms; 0: it is not. @defaultValue no result without a hint is kept */
  readonly ttlMs?: (call: MiddlewareCall) => number;
  /** Measures time; a `FakeClock` in tests. @defaultValue the system's clock */
  readonly clock?: Clock;
}

export const CACHE_DEFAULTS = Object.freeze({
  maxBytes: 16 * 1_024 * 1_024,
  when: isRead,
  ttlMs: (): number => 0,
});

interface Kept {
  readonly result: Uint8Array;
  readonly server: string | undefined;
  readonly method: string;
  readonly uri: string | undefined;
  readonly untilMs: number;
}

/** What a notification says is another now: by the begin of the methods whose results it concerns. */
const CHANGES: ReadonlyMap<string, string> = new Map([
  ['notifications/tools/list_changed', 'tools/'],
  ['notifications/prompts/list_changed', 'prompts/'],
  ['notifications/resources/list_changed', 'resources/'],
  ['notifications/resources/updated', 'resources/read'],
]);

/**
 * Answers what was answered before, for as long as the server said (`ttlMs` of the modern era): to the same principal and session, or
 * to all where its `cacheScope` is `public`. Around a pool alone. What a server says has changed is forgotten; tools that failed are not kept. @throws OptionError
 */
export function cache(given: CacheOptions = {}): Middleware {
  const { maxBytes, when, ttlMs, clock = systemClock } = withDefaults('cache', given, CACHE_DEFAULTS, { clock: true });
  checkBytes('maxBytes', maxBytes, { min: 1 });
  const kept = new LRUCache<string, Kept>({
    maxSize: maxBytes,
    sizeCalculation: ({ result }, key) => result.length + key.length,
  });
  /** How often each server said that something changed: what was asked before is not kept after. */
  const changes = new Map<string | undefined, number>();
  const forget = ({ server, method, uri }: MiddlewareCall, begin: string): void => {
    changes.set(server, (changes.get(server) ?? 0) + 1);
    for (const [key, each] of kept.entries()) {
      if (each.server !== server || !each.method.startsWith(begin)) continue;
      if (method !== 'notifications/resources/updated' || each.uri === uri) kept.delete(key);
    }
  };
  const fresh = (key: string): CallResult | undefined => {
    const found = kept.get(key);
    return found !== undefined && found.untilMs > clock.now() ? CallResult.of(found.result) : undefined;
  };
  const middleware: Middleware = async (call, next) => {
    // Within a middleware around a gateway, too.
    if (call.path !== undefined) return next();
    if (call.from === 'server') {
      const begin = CHANGES.get(call.method);
      if (begin !== undefined) forget(call, begin);
      return next();
    }
    if (call.kind !== 'request' || !when(call)) return next();
    const own = keyOf(call);
    const everyone = keyOf(call, true);
    if (own === undefined || everyone === undefined) return next();
    const known = fresh(own) ?? fresh(`public ${everyone}`);
    if (known !== undefined) return known;
    const before = changes.get(call.server);
    const result = await next();
    const hint = hintOf(result);
    const keptMs = hint.ttlMs ?? ttlMs(call);
    if (hint.failed || !(keptMs > 0) || changes.get(call.server) !== before) return result;
    const { server, method, uri } = call;
    const untilMs = clock.now() + keptMs;
    kept.set(hint.isPublic ? `public ${everyone}` : own, { result: result.bytes, server, method, uri, untilMs });
    return result;
  };
  return forPoolsAlone(middleware, GATEWAY);
}

/** A gateway asks what a user may see, and hears what has changed, behind its middleware. */
const GATEWAY =
  'cache stands around a pool, so that what one user was shown is no answer to another, and what changed is forgotten';

/** Results without these words are not looked into. */
const WORDS = ['"ttlMs"', '"isError"', '"resultType"'] as const;

function hintOf(result: CallResult): {
  readonly ttlMs: number | undefined;
  readonly isPublic: boolean;
  readonly failed: boolean;
} {
  const { raw } = result;
  if (raw instanceof Uint8Array) {
    const bytes = Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength);
    if (bytes.length <= MAX_READ_BYTES && !WORDS.some((word) => bytes.includes(word)))
      return { ttlMs: undefined, isPublic: false, failed: false };
    // What takes too long to be read is passed on as it is.
    if (bytes.length > MAX_READ_BYTES || costsMore(bytes, MAX_ANSWER_COST))
      return { ttlMs: undefined, isPublic: false, failed: true };
  }
  const { ttlMs, cacheScope, isError, resultType = 'complete' } = (result.value ?? {}) as Record<string, unknown>;
  return {
    ttlMs: typeof ttlMs === 'number' ? ttlMs : undefined,
    isPublic: cacheScope === 'public',
    failed: isError === true || resultType !== 'complete',
  };
}
