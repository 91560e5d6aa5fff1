import { LRUCache } from 'lru-cache';
import { CallResult } from '../../connection/calls/CallResult.js';
import type { Middleware, MiddlewareCall } from '../../connection/calls/Middleware.js';
import { forPoolsAlone } from '../../connection/calls/poolsAlone.js';
import { MAX_READ_BYTES } from '../../connection/channel/codec/parsingCost.js';
import { type Clock, systemClock } from '../../core/clock.js';
import { checkBytes, withDefaults } from '../../core/options.js';
import { keysOf } from '../keysOf.js';
import { isRead, saidOf, UnderWay } from '../sharing.js';

export interface CacheOptions {
  /** Bytes of all results kept, with what they are known by; the least recently used go first. One of more than 8 MiB is not kept. @defaultValue 16777216 */
  readonly maxBytes?: number;
  /** Which of the lists, reads and calls of tools; others never are. @defaultValue lists, reads, and calls of tools that their caller says may run twice */
  readonly when?: (call: MiddlewareCall) => boolean;
  /** A function: how long the result of that call is kept when it has no hint of its own, in ms; 0: it is not. @defaultValue no result without a hint is kept */
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
  /** What a notification may say that it is outdated by. */
  readonly marks: readonly string[];
  readonly untilMs: number;
}

/** What a result takes beside its bytes, its key and its marks: measured on Node 20. */
const ENTRY_BYTES = 512;

const READ = 'resources/read';
const UPDATED = 'notifications/resources/updated';

/** What a notification says is another now: by the begin of the methods whose results it concerns. */
const CHANGES: ReadonlyMap<string, string> = new Map([
  ['notifications/tools/list_changed', 'tools/'],
  ['notifications/prompts/list_changed', 'prompts/'],
  ['notifications/resources/list_changed', 'resources/'],
  [UPDATED, READ],
]);

/**
 * Answers what was answered before, for as long as the server said (`ttlMs` of the modern era): to the same principal, and
 * session where its server is `bound`, or to all where its `cacheScope` is `public`. Around a pool alone. What a server says has changed is
 * forgotten; tools that failed, and what came of asking a client, are not kept. @throws OptionError
 */
export function cache(given: CacheOptions = {}): Middleware {
  const { maxBytes, when, ttlMs, clock = systemClock } = withDefaults('cache', given, CACHE_DEFAULTS, { clock: true });
  checkBytes('maxBytes', maxBytes, { min: 1 });
  const byMark = new Map<string, Set<string>>();
  const kept = new LRUCache<string, Kept>({
    maxSize: maxBytes,
    sizeCalculation: ({ result, marks }, key) =>
      ENTRY_BYTES + result.length + key.length + marks.reduce((sum, mark) => sum + mark.length, 0),
    dispose: ({ marks }, key, why) => {
      // What takes its place has the same marks: they are in its key.
      if (why !== 'set') for (const mark of marks) unmark(mark, key);
    },
  });
  const unmark = (mark: string, key: string): void => {
    const keys = byMark.get(mark);
    if (keys?.delete(key) === true && keys.size === 0) byMark.delete(mark);
  };
  /** How often each server said that something changed: what was asked before is not kept after. */
  const changes = new Map<string | undefined, number>();
  const forget = (server: string | undefined, mark: string): void => {
    changes.set(server, (changes.get(server) ?? 0) + 1);
    for (const key of [...(byMark.get(mark) ?? [])]) kept.delete(key);
  };
  /** Answers of calls during which a client was asked are that client's. */
  const underWay = new UnderWay(() => ({ asked: false }));
  const fresh = (key: string): CallResult | undefined => {
    const found = kept.get(key);
    return found !== undefined && found.untilMs > clock.now() ? CallResult.of(found.result) : undefined;
  };
  const middleware: Middleware = async (call, next) => {
    // Within a middleware around a gateway, too.
    if (call.path !== undefined) return next();
    if (call.from === 'server') {
      const group = underWay.asked(call);
      if (group !== undefined) group.asked = true;
      const begin = CHANGES.get(call.method);
      if (begin !== undefined) {
        forget(call.server, call.method === UPDATED ? readOf(call.server, call.uri) : ofKind(call.server, begin));
      }
      return next();
    }
    if (call.kind !== 'request' || !when(call)) return next();
    const keys = keysOf(call);
    if (keys === undefined) return next();
    const { own, everyone } = keys;
    const known = fresh(own) ?? fresh(`public ${everyone}`);
    if (known !== undefined) return known;
    const before = changes.get(call.server);
    const { result, asked } = await underWay.run(call, async (group) => {
      const result = await next();
      return { result, asked: group.asked };
    });
    if (asked || size(result) > MAX_READ_BYTES || changes.get(call.server) !== before) return result;
    const hint = saidOf(result);
    const keptMs = hint.ttlMs ?? ttlMs(call);
    if (hint.isOnesOwn || hint.failed || !(keptMs > 0)) return result;
    const { server, method, uri } = call;
    const marks = [ofKind(server, method), ...(method === READ ? [readOf(server, uri)] : [])];
    const key = hint.isPublic ? `public ${everyone}` : own;
    kept.set(key, { result: result.bytes, marks, untilMs: clock.now() + keptMs });
    // What is larger than all that may be kept is not.
    if (kept.has(key)) for (const mark of marks) byMark.set(mark, (byMark.get(mark) ?? new Set()).add(key));
    return result;
  };
  return forPoolsAlone(middleware, GATEWAY);
}

/** All results of `tools/…`, `prompts/…` or `resources/…` of a server. */
const ofKind = (server: string | undefined, method: string): string =>
  JSON.stringify([server, method.slice(0, method.indexOf('/') + 1)]);

/** What was read of one resource of a server. */
const readOf = (server: string | undefined, uri: string | undefined): string => JSON.stringify([server, READ, uri]);

/** A gateway asks what a user may see, and hears what has changed, behind its middleware. */
const GATEWAY =
  'cache stands around a pool, so that what one user was shown is no answer to another, and what changed is forgotten';

const size = ({ raw }: CallResult): number => (raw instanceof Uint8Array ? raw.length : 0);
