import { membersOf, memberText, rewritten } from '../../../connection/channel/codec/members.js';
import type { ResultSink } from '../../../connection/channel/large/ResultSink.js';
import { objectOf } from '../../../connection/protocol/objectOf.js';
import { parseAnswer } from '../../rpc/parseAnswer.js';
import { RewritingSink } from '../../rpc/RewritingSink.js';
import { StringRewriter } from '../../rpc/StringRewriter.js';

const NAME = 'cacheScope';
const NAMES: ReadonlySet<string> = new Set([NAME]);
const PRIVATE = '"private"';

/** A result whose server lets all have it, for a user who may have it where others may not: no cache shows it to another. */
export function asPrivate(result: unknown): unknown {
  if (!(result instanceof Uint8Array)) {
    const hints = result as { readonly cacheScope?: unknown } | null | undefined;
    return hints?.cacheScope === undefined ? result : { ...hints, cacheScope: 'private' };
  }
  const bytes = Buffer.from(result.buffer, result.byteOffset, result.byteLength);
  // Its name may be written with an escape, or come twice.
  if (!bytes.includes(`"${NAME}"`) && !bytes.includes('\\u')) return result;
  const text = bytes.toString('utf8');
  const members = membersOf(text);
  if (members === undefined) return Buffer.from(JSON.stringify({ ...objectOf(parseAnswer(text)), [NAME]: 'private' }));
  if (memberText(text, members, NAME) === undefined) return result;
  return Buffer.from(rewritten(text, { [NAME]: PRIVATE }));
}

/** The same for one that comes in pieces. */
export function asPrivateInPieces(sink: ResultSink): ResultSink {
  const change = (path: readonly unknown[]): string | undefined => (path.length === 1 ? 'private' : undefined);
  return new RewritingSink(sink, new StringRewriter(NAMES, change, Number.POSITIVE_INFINITY));
}
