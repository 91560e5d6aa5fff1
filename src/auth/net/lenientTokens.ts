import type { FetchLike } from '@modelcontextprotocol/client';

/** Longer answers are left as they are. */
const MAX_CHARS = 65_536;

const FORM = /^[\w.%+-]+=[^&]*(&[\w.%+-]+=[^&]*)*$/;

/**
 * `fetch` for a token endpoint. What other clients of OAuth take is made into what RFC 6749 (5.1) has: an answer that is encoded as
 * a form, as GitHub's is, one without `token_type`, members that are null. An error that comes with a status of success is one,
 * a token beside it or not.
 */
export function lenientTokens(fetch: FetchLike): FetchLike {
  return async (url, init) => {
    const response = await fetch(url, init);
    if (!response.ok) return response;
    const { headers } = response;
    const text = await response.text();
    const said = text.length > MAX_CHARS ? undefined : membersOf(text);
    // A body, even an empty one, is refused beside 204.
    if (said === undefined) return new Response(text || null, { status: response.status, headers });
    const members = Object.fromEntries(Object.entries(said).filter(([, value]) => value !== null));
    const failed = typeof members['error'] === 'string' && members['error'] !== '';
    const type = { 'content-type': 'application/json' };
    if (failed) return new Response(JSON.stringify(members), { status: 400, headers: type });
    return new Response(JSON.stringify({ token_type: 'Bearer', ...members }), { headers: type });
  };
}

/** Of a form what says nothing is left out. */
function membersOf(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : undefined;
  } catch {
    const form = text.trim();
    if (!FORM.test(form)) return undefined;
    return Object.fromEntries([...new URLSearchParams(form)].filter(([, value]) => value !== ''));
  }
}
