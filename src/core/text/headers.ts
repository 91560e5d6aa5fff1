/** Headers that the transports, or HTTP itself, set for each request. */
const OWN_HEADERS: ReadonlySet<string> = new Set([
  'accept',
  'accept-encoding',
  'connection',
  'content-length',
  'content-type',
  'expect',
  'host',
  'keep-alive',
  'last-event-id',
  'mcp-protocol-version',
  'mcp-session-id',
  'transfer-encoding',
  'upgrade',
]);

/** Whether no other than the transport sets it; in any case of letters. */
export const isOwnHeader = (name: string): boolean => OWN_HEADERS.has(name.toLowerCase());

/** What was expected of a header that cannot be sent, and what it is like; neither shows its value, which may be a secret. */
export interface HeaderProblem {
  readonly expected: string;
  readonly got: string;
}

/** Why a header cannot be sent; undefined where it can. */
export function headerProblem(name: string, value: unknown): HeaderProblem | undefined {
  if (!/^[!#$%&'*+\-.^_`|~0-9a-z]+$/i.test(name)) {
    return { expected: 'a name of a header: letters, digits and "-"', got: name };
  }
  if (isOwnHeader(name) || /^mcp-/i.test(name)) {
    return { expected: 'a header name that the protocol does not set itself', got: name };
  }
  if (typeof value !== 'string') return { expected: 'a string', got: typeof value };
  if (/[\r\n]/.test(value)) return { expected: 'a header value on one line', got: 'one with a line break' };
  if (/^[\t\x20-\x7e\x80-\xff]*$/.test(value)) return undefined;
  return { expected: 'a header value of Latin letters', got: 'one with other characters' };
}
