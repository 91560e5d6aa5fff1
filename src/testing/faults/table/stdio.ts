import { EVERY_WIRE, type FaultSpec, type FaultWire } from './spec.js';

const call = { scope: 'call', wires: ['stdio'], settings: [] } as const;
const start = { scope: 'start', wires: ['stdio'], settings: [] } as const;

/** Every transport has starts, and so has a TCP connection. */
const ANY_START: readonly FaultWire[] = Object.freeze([...EVERY_WIRE, 'tcp']);

/** Faults of a process and its pipes. */
export const STDIO_FAULTS = Object.freeze({
  refuse: {
    scope: 'start',
    wires: ANY_START,
    settings: ['exitCode'],
    shows:
      'the process exits before the handshake (default: code 3), with a line on stderr; by URL the handshake gets 503; a TCP connection is reset',
    answer: 'ERR_START_FAILED with exit code and stderr; then backoff',
  },
  slowStart: {
    scope: 'start',
    wires: ANY_START,
    settings: ['delayMs'],
    shows: 'the handshake is answered late; on TCP the first bytes are passed on late',
    answer: 'waits; past startTimeoutMs ERR_START_FAILED, and the process is ended',
  },
  noise: {
    ...start,
    settings: ['count'],
    shows: 'so many lines (default: 3) that are no JSON on stdout before the handshake, one of them in colour',
    answer: 'passed over and counted in garbage',
  },
  deaf: {
    ...start,
    shows: 'the process heeds neither SIGTERM nor the end of its stdin',
    answer: 'SIGKILL to its group after stdinGraceMs and termGraceMs; close() proves it gone',
  },
  daemon: {
    ...start,
    shows: 'the process forks a child into a session of its own and forgets it',
    answer: 'found by the token in its environment, and killed by stop and close()',
  },
  stderrFlood: {
    ...call,
    settings: ['bytes'],
    shows: 'so many bytes (default: 1 MiB) on stderr, then the answer',
    answer: 'the answer; the newest lines are kept in a bounded tail',
  },
  stopReading: {
    ...call,
    shows: 'the process answers and reads its stdin no more',
    answer: 'calls beyond what the pipe holds wait, then ERR_ACQUIRE_TIMEOUT (not sent) or ERR_REQUEST_TIMEOUT (sent)',
  },
  closeOutput: {
    ...call,
    shows: 'the process closes its stdout and lives on',
    answer: 'ERR_OUTCOME_UNKNOWN for every call in flight; the process is ended and replaced',
  },
  leakMemory: {
    ...call,
    settings: ['bytes'],
    shows: 'the process keeps so many bytes (default: 10 MiB) for ever, then answers',
    answer: 'the answer; the memory shows in status and in ManagedServer usage',
  },
  stallEventLoop: {
    ...call,
    wires: EVERY_WIRE,
    settings: ['delayMs'],
    shows: 'the process computes for so long (default: 200 ms) and does nothing else, then answers',
    answer: 'every call of the process waits; those past their timeout end by ERR_REQUEST_TIMEOUT',
  },
}) satisfies Readonly<Record<string, FaultSpec>>;
