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

/** A modern result, and of what its server needs first the JSON. */
export interface LegacyResult {
  readonly bytes: Uint8Array;
  readonly isNeed: boolean;
  readonly inputRequests: string | undefined;
  readonly requestState: string | undefined;
}

/** A modern result as a legacy client reads it: without what only the modern era has. Nothing of it is parsed, however much there is. */
export async function legacyResult(result: Uint8Array): Promise<LegacyResult> {
  const told = new Map<string, string>();
  const keep = (name: string) => (value: string) => {
    told.set(name, value);
    return value;
  };
  const edits: Record<string, MemberEdit> = {
    ...MODERN_ONLY,
    resultType: (value) => {
      // However its letters are written.
      if (value.length <= MAX_TYPE_CHARS && value.startsWith('"')) told.set('resultType', JSON.parse(value) as string);
      return undefined;
    },
    inputRequests: keep('inputRequests'),
    requestState: keep('requestState'),
    _meta: withoutServerInfo,
  };
  const bytes = await rewritten(result, new MemberRewriter(edits));
  return {
    bytes,
    isNeed: told.get('resultType') === 'input_required',
    inputRequests: told.get('inputRequests'),
    requestState: told.get('requestState'),
  };
}

const MAX_TYPE_CHARS = 1_024;
const MAX_META_CHARS = 256 * 1_024;

function withoutServerInfo(meta: string): string | undefined {
  // Where so much stands beside it, it does no harm, and others would wait.
  if (meta.length > MAX_META_CHARS) return meta;
  const rewriter = new MemberRewriter({ [META_SERVER_INFO]: null });
  const left = rewriter.push(Buffer.from(meta)).toString();
  return rewriter.changed && left === '{}' ? undefined : left;
}
