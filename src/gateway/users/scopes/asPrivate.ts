import type { ResultSink } from '../../../connection/channel/large/ResultSink.js';
import { MemberRewriter } from '../../rpc/rewriting/MemberRewriter.js';
import { RewritingSink } from '../../rpc/rewriting/RewritingSink.js';
import { rewritten } from '../../rpc/rewriting/rewritten.js';

const PRIVATE = { cacheScope: '"private"' } as const;

/** A result whose server lets all have it, for a user who may have it where others may not: no cache shows it to another. */
export function asPrivate(result: unknown): unknown {
  if (!(result instanceof Uint8Array)) {
    const hints = result as { readonly cacheScope?: unknown } | null | undefined;
    return hints?.cacheScope === undefined ? result : { ...hints, cacheScope: 'private' };
  }
  return rewritten(result, new MemberRewriter(PRIVATE));
}

/** The same for one that comes in pieces. */
export function asPrivateInPieces(sink: ResultSink): ResultSink {
  return new RewritingSink(sink, new MemberRewriter(PRIVATE));
}
