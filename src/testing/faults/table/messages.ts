import { EVERY_WIRE, type FaultSpec } from './spec.js';

const call = { scope: 'call', wires: EVERY_WIRE, settings: [] } as const;

/** Faults of single messages, on any wire. */
export const MESSAGE_FAULTS = Object.freeze({
  delay: {
    ...call,
    settings: ['delayMs'],
    shows: 'the request reaches the server late',
    answer: 'waits; past its timeout ERR_REQUEST_TIMEOUT, and the call is cancelled',
  },
  drop: {
    ...call,
    shows: 'the request never reaches the server, and no answer comes',
    answer: 'ERR_REQUEST_TIMEOUT at the configured timeout; the connection is kept',
  },
  dropAnswer: {
    ...call,
    shows: 'the server acts and answers; the answer is lost',
    answer: 'ERR_REQUEST_TIMEOUT at the configured timeout; the connection is kept',
  },
  hang: {
    ...call,
    shows: 'the server takes the request and never answers it',
    answer: 'ERR_REQUEST_TIMEOUT at the configured timeout, and the call is cancelled',
  },
  stall: {
    ...call,
    shows:
      'from this request on the wire is open and still: nothing goes either way (HTTP, modern: of this call alone)',
    answer: 'ERR_REQUEST_TIMEOUT for this and later calls, until a ping times out and the connection is replaced',
  },
  duplicate: {
    ...call,
    shows: 'the answer comes twice',
    answer: 'the first one settles the call; the second is counted in lateReplies (on HTTP it is no longer read)',
  },
  outOfOrder: {
    ...call,
    settings: ['delayMs'],
    shows: 'the answer is held back until another answer has gone out, or for delayMs (1000)',
    answer: 'each call gets its own answer',
  },
  wrongId: {
    ...call,
    shows:
      'the answer bears the id of a call of the same session that was answered before, and of none in flight; of POSTs without a session, of any',
    answer: 'counted in lateReplies; the call itself ends by ERR_REQUEST_TIMEOUT',
  },
  unknownId: {
    ...call,
    shows: 'the answer bears an id that no call ever had',
    answer: 'counted in garbage; the call itself ends by ERR_REQUEST_TIMEOUT',
  },
  truncate: {
    ...call,
    shows: 'half of the answer, then the end of the wire',
    answer:
      'stdio: ERR_OUTCOME_UNKNOWN for all calls in flight, and the connection is replaced; HTTP: ERR_OUTCOME_UNKNOWN, only the stream is lost',
  },
  coalesce: {
    ...call,
    shows: 'a log notification and the answer in one write',
    answer: 'both are delivered',
  },
  splitCharacter: {
    ...call,
    shows: 'the answer in two writes, cut inside a character of several bytes where it has one',
    answer: 'the answer, unharmed',
  },
  oversize: {
    ...call,
    settings: ['bytes'],
    shows: 'an answer of so many bytes (default: 65 MiB, above the default maxMessageBytes)',
    answer: 'ERR_MESSAGE_TOO_LARGE for this call alone; the connection is kept',
  },
  garbage: {
    ...call,
    settings: ['count'],
    shows: 'so many messages (default: 3) that are no JSON, then the answer',
    answer: 'the answer; each such message is counted in garbage',
  },
  corrupt: {
    ...call,
    shows: 'an answer that is valid JSON and has neither result nor error',
    answer: 'counted in garbage; the call itself ends by ERR_REQUEST_TIMEOUT',
  },
  lie: {
    ...call,
    shows: 'an answer of the right shape with other text in it',
    answer: 'delivered as it is: only who knows the right answer can tell',
  },
  error: {
    ...call,
    settings: ['code', 'message', 'data'],
    shows: 'a JSON-RPC error instead of an answer; the server never sees the request',
    answer: 'ERR_RPC with that code, message and data; the connection is kept',
  },
  crash: {
    ...call,
    settings: ['signal'],
    shows: 'the server takes the request and dies by SIGKILL (on HTTP and SSE its sockets are reset)',
    answer: 'ERR_OUTCOME_UNKNOWN for every call in flight; the connection is replaced',
  },
  exit: {
    ...call,
    settings: ['exitCode'],
    shows: 'the server takes the request and exits with a code (on HTTP and SSE its sockets are closed)',
    answer: 'ERR_OUTCOME_UNKNOWN for every call in flight; the connection is replaced',
  },
}) satisfies Readonly<Record<string, FaultSpec>>;
