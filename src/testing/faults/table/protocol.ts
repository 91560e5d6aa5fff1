import { EVERY_WIRE, type FaultSpec, LISTS, UNKNOWN_METHODS } from './spec.js';

const call = { scope: 'call', wires: EVERY_WIRE, settings: [] } as const;

/** Faults of the protocol: messages that are well-formed and wrong. */
export const PROTOCOL_FAULTS = Object.freeze({
  listChangedStorm: {
    ...call,
    settings: ['count'],
    shows: 'so many (default: 1000) notifications/tools/list_changed, then the answer',
    answer: 'the answer; beyond ten in 100 ms the notifications become one',
  },
  vanishTool: {
    ...call,
    methods: ['tools/list'],
    settings: ['of'],
    shows: 'a tool is in the list no more, and calls of it get -32602',
    answer: 'the list as it is; ERR_RPC for calls',
  },
  changeSchema: {
    ...call,
    methods: ['tools/list'],
    settings: ['of'],
    shows: "a tool's input schema has a new required property",
    answer: 'the list as it is',
  },
  ignoreCancel: {
    ...call,
    shows: 'the cancellation of the call is not heeded: its answer comes all the same',
    answer: 'the call has ended by its signal or timeout; the answer is counted in lateReplies',
  },
  answerAfterCancel: {
    ...call,
    shows: 'no answer until the call is cancelled, and one then',
    answer: 'the call has ended by its signal or timeout; the answer is counted in lateReplies',
  },
  silentPing: {
    ...call,
    methods: ['ping'],
    shows: 'a ping gets no answer',
    answer: 'the connection is replaced after healthTimeoutMs',
  },
  silentUnknown: {
    ...call,
    methods: [UNKNOWN_METHODS],
    shows: 'an unknown method gets no answer, not even -32601',
    answer: 'ERR_REQUEST_TIMEOUT',
  },
  endlessCursor: {
    ...call,
    methods: LISTS,
    shows: 'every page of a list has a next one',
    answer: 'the list ends at maxPages, and says so',
  },
  endlessInputRequired: {
    ...call,
    shows: 'modern: every answer asks for more input',
    answer: 'delivered as it is: the caller decides when to stop',
  },
  progressAfterAnswer: {
    ...call,
    shows: 'progress comes after the answer',
    answer: 'the answer; the progress reaches no caller',
  },
  endlessRequests: {
    ...call,
    shows: 'the server asks the client again and again (roots/list), and never answers the call',
    answer: 'each request is answered (-32601 where nothing handles it); the call ends by ERR_REQUEST_TIMEOUT',
  },
}) satisfies Readonly<Record<string, FaultSpec>>;
