import { META_SERVER_INFO } from '../../connection/protocol/metaKeys.js';
import { modernMembers } from '../../connection/protocol/versions.js';
import { type MemberEdit, MemberRewriter } from '../rpc/rewriting/MemberRewriter.js';
import { rewritten } from '../rpc/rewriting/rewritten.js';

/** What a modern result says beyond what a legacy client knows. */
const MODERN_ONLY = { resultType: null, ttlMs: null, cacheScope: null } as const;

/**
 * A legacy result as a modern client reads it: complete, and not to be kept. What is in it stays as it is; but what of these words a legacy server says
 * by itself is not of the modern era, and must not pass for ours, nor stand beside it.
 */
export function modernResult(method: string, result: unknown): unknown {
  const added = modernMembers(method);
  if (!(result instanceof Uint8Array)) return { ...(result as object), ...added };
  return rewritten(result, new MemberRewriter(MODERN_ONLY, JSON.stringify(added).slice(1, -1)));
}

/** A modern result as a legacy client reads it: without what only the modern era has. */
export async function legacyResult(
  result: Uint8Array,
): Promise<{ readonly bytes: Uint8Array; readonly resultType: unknown }> {
  let resultType: unknown;
  const edits: Record<string, MemberEdit> = {
    ...MODERN_ONLY,
    resultType: (value) => {
      resultType = value.startsWith('"') ? JSON.parse(value) : value;
      return undefined;
    },
    _meta: withoutServerInfo,
  };
  const bytes = await rewritten(result, new MemberRewriter(edits));
  return { bytes, resultType };
}

function withoutServerInfo(meta: string): string | undefined {
  const rewriter = new MemberRewriter({ [META_SERVER_INFO]: null });
  const left = rewriter.push(Buffer.from(meta)).toString();
  return rewriter.changed && left === '{}' ? undefined : left;
}
