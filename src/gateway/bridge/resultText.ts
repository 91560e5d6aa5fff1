import { membersOf, memberText, rewritten, withMembers } from '../../connection/channel/codec/members.js';
import { META_SERVER_INFO } from '../../connection/protocol/metaKeys.js';
import { parseAnswer } from '../rpc/parseAnswer.js';

/** Results that a client may keep, so that a modern one says for how long (2026-07-28, caching). */
const CACHEABLE: ReadonlySet<string> = new Set([
  'tools/list',
  'prompts/list',
  'resources/list',
  'resources/templates/list',
  'resources/read',
  'server/discover',
]);
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
/** A name may be written with these. */
const ESCAPE = '\\u';

/** What a modern result says beyond what a legacy client knows. */
const MODERN_ONLY = { resultType: undefined, ttlMs: undefined, cacheScope: undefined } as const;

/** A legacy result as a modern client reads it: complete, and not to be kept. What is in it stays as it is. */
export function modernResult(method: string, result: unknown): unknown {
  const added = CACHEABLE.has(method)
    ? { resultType: 'complete', ttlMs: 0, cacheScope: 'private' }
    : { resultType: 'complete' };
  if (!(result instanceof Uint8Array)) return { ...(result as object), ...added };
  let text = Buffer.from(result.buffer, result.byteOffset, result.byteLength);
  if (text[0] !== OPEN_BRACE) return result;
  // What of these a legacy server says by itself is not of the modern era: it must not pass for ours, nor stand beside it.
  if (Object.keys(added).some((name) => text.includes(name)) || text.includes(ESCAPE)) {
    const written = withMembers(text.toString('utf8'), MODERN_ONLY);
    if (written === undefined) return { ...(parseAnswer(text.toString('utf8')) as object), ...added };
    text = Buffer.from(written);
  }
  let at = 1;
  while ((text[at] as number) <= 0x20) at++;
  const head = JSON.stringify(added).slice(0, -1);
  return Buffer.concat([Buffer.from(text[at] === CLOSE_BRACE ? head : `${head},`), text.subarray(1)]);
}

/** A modern result as a legacy client reads it: without what only the modern era has. */
export function legacyResult(text: string): string {
  const members = membersOf(text);
  if (members === undefined) return text;
  const meta = memberText(text, members, '_meta');
  if (meta?.includes(META_SERVER_INFO) !== true) return withMembers(text, MODERN_ONLY) ?? text;
  const without = { [META_SERVER_INFO]: undefined };
  const left = withMembers(meta, without) ?? rewritten(JSON.stringify(parseAnswer(meta)), without);
  return withMembers(text, { ...MODERN_ONLY, _meta: left === '{}' ? undefined : left }) ?? text;
}
