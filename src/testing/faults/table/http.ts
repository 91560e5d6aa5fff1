import type { FaultSpec } from './spec.js';

const call = { scope: 'call', wires: ['http'], settings: [] } as const;
const posts = { ...call, wires: ['http', 'sse'] } as const;

/** Faults of HTTP and of event streams. */
export const HTTP_FAULTS = Object.freeze({
  refused: {
    ...posts,
    wires: ['http', 'sse', 'tcp'],
    settings: ['delayMs'],
    shows: 'the request is cut, and for so long (default: 500 ms) new connections are refused',
    answer:
      'ERR_OUTCOME_UNKNOWN for this call; ERR_NOT_SENT for those that find no listener, SSE: ERR_START_FAILED, since the stream is lost too',
  },
  resetBeforeHeaders: {
    ...posts,
    shows:
      'the request is read, then the connection is reset without a byte of response; no answer comes on an SSE stream either',
    answer: 'ERR_OUTCOME_UNKNOWN',
  },
  resetAfterHeaders: {
    ...call,
    shows: 'status line and headers, then a reset',
    answer: 'ERR_OUTCOME_UNKNOWN',
  },
  status: {
    ...posts,
    settings: ['status', 'retryAfter', 'retryAfterMs', 'message'],
    shows: 'the request is refused with this status and a plain body; the server does not act',
    answer:
      '401 ERR_UNAUTHORIZED, 403 ERR_FORBIDDEN, 429 ERR_RATE_LIMITED, 503 ERR_UPSTREAM_BUSY (both with retryAfterMs), other 5xx ERR_OUTCOME_UNKNOWN, 404 whose `message` speaks of a session, in one: a new session and the call once more; other 4xx ERR_PROTOCOL',
  },
  redirect: {
    ...call,
    settings: ['status', 'location'],
    shows: 'a redirect (default: 307) to another origin',
    answer: 'another origin is not followed: ERR_PROTOCOL',
  },
  contentType: {
    ...call,
    settings: ['contentType'],
    shows: 'the right body under a wrong content type, or under none',
    answer: 'ERR_PROTOCOL with an excerpt',
  },
  compressed: {
    ...call,
    shows: 'a gzip body although the client asked for identity',
    answer: 'decoded: the answer',
  },
  brokenChunk: {
    ...call,
    shows: 'a chunked body that ends within a chunk',
    answer: 'ERR_OUTCOME_UNKNOWN',
  },
  cutStream: {
    ...call,
    settings: ['at'],
    shows: 'an event stream that ends before, inside or after the answer (default: inside)',
    answer: 'before and inside ERR_OUTCOME_UNKNOWN; after: the answer',
  },
  noBlankLine: {
    ...call,
    shows: 'an event stream that ends without the blank line of its last event',
    answer: 'the answer, since nothing can be missing of it',
  },
  slowDrip: {
    ...call,
    settings: ['delayMs'],
    shows: 'the answer in pieces of 16 bytes, one every so often (default: 5 ms)',
    answer: 'the answer, or ERR_REQUEST_TIMEOUT',
  },
  endlessHeaders: {
    ...call,
    shows: 'response headers without end',
    answer: 'ERR_PROTOCOL once they pass 64 KiB',
  },
  retry: {
    ...call,
    settings: ['retryAfterMs'],
    shows:
      'an event with an id and `retry:`, then the end of the stream; a GET with that Last-Event-ID gets the answer',
    answer: 'legacy: resumed after that time (250 ms at the least), the answer; modern: ERR_OUTCOME_UNKNOWN',
  },
  sessionLost: {
    ...call,
    settings: ['at'],
    shows: 'the server forgets the session: 404 (at: before, the default), or in mid-stream (at: inside)',
    answer:
      'before: one new session for all, the call once more; inside: ERR_OUTCOME_UNKNOWN, the next call opens a session; modern, where there is none: ERR_PROTOCOL',
  },
  tokenExpired: {
    ...posts,
    shows: '401 with `WWW-Authenticate: Bearer error="invalid_token"`, until another token comes',
    answer: 'the credentials hook is asked once and the call sent again; without one ERR_UNAUTHORIZED',
  },
}) satisfies Readonly<Record<string, FaultSpec>>;
