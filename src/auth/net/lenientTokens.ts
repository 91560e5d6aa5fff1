import type { FetchLike } from '@modelcontextprotocol/client';
import { membersOf } from './documents.js';

/** Longer answers are left as they are. */
const MAX_CHARS = 65_536;

const FORM = /^[\w.%+-]+=[^&]*(&[\w.%+-]+=[^&]*)*$/;

/**
 * `fetch` for a token endpoint. What other clients of OAuth take is made into what RFC 6749 (5.1, 5.2) has: an answer that is encoded as
 * a form, as GitHub's is, one without `token_type`, members that are null or empty, also of an error. An error that comes with a status of
 * success is one, a token beside it or not.
 */
export function lenientTokens(fetch: FetchLike): FetchLike {
  return async (url, init) => {
    const response = await fetch(url, init);
    const { ok, status, headers } = response;
    const text = await response.text();
    const said = text.length > MAX_CHARS ? undefined : (membersOf(text) ?? (ok ? fieldsOf(text) : undefined));
    // A body, even an empty one, is refused beside 204.
    if (said === undefined) return new Response(text || null, { status, headers });
    if (!ok) return Response.json(said, { status });
    if (typeof said['error'] === 'string') return Response.json(said, { status: 400 });
    return Response.json({ token_type: 'Bearer', ...said });
  };
}

/** Of a form, what says nothing is left out. */
function fieldsOf(text: string): Readonly<Record<string, unknown>> | undefined {
  const form = text.trim();
  if (!FORM.test(form)) return undefined;
  return Object.fromEntries([...new URLSearchParams(form)].filter(([, value]) => value !== ''));
}
