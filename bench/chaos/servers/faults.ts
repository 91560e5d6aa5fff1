import type { FaultRule } from '../../../src/testing/faults/rule/FaultRule.js';
import type { ServerSpec } from '../plan.js';

/** What can go wrong with a call, as the argument `fault` of a call asks for it: of `mcp-poolkit/testing`, with its settings. */
const CALLS: Readonly<Record<string, FaultRule>> = {
  delay: { fault: 'delay', delayMs: { lognormal: { medianMs: 20, sigma: 1 } } },
  drop: { fault: 'drop' },
  'drop-answer': { fault: 'dropAnswer' },
  hang: { fault: 'hang' },
  duplicate: { fault: 'duplicate' },
  'out-of-order': { fault: 'outOfOrder', delayMs: 200 },
  'wrong-id': { fault: 'wrongId' },
  'unknown-id': { fault: 'unknownId' },
  truncate: { fault: 'truncate' },
  coalesce: { fault: 'coalesce' },
  split: { fault: 'splitCharacter' },
  garbage: { fault: 'garbage' },
  corrupt: { fault: 'corrupt' },
  error: { fault: 'error', code: -32_000, message: 'no luck' },
  crash: { fault: 'crash' },
  exit: { fault: 'exit' },
  storm: { fault: 'listChangedStorm', count: 50 },
  'ignore-cancel': { fault: 'ignoreCancel' },
  'answer-after-cancel': { fault: 'answerAfterCancel' },
  'progress-after': { fault: 'progressAfterAnswer' },
  stall: { fault: 'stallEventLoop', delayMs: 100 },
  stderr: { fault: 'stderrFlood', bytes: 100_000 },
  'close-stdout': { fault: 'closeOutput' },
  refused: { fault: 'refused', delayMs: 100 },
  reset: { fault: 'resetBeforeHeaders' },
  'reset-after': { fault: 'resetAfterHeaders' },
  'status-429': { fault: 'status', status: 429, retryAfter: 0 },
  'status-500': { fault: 'status', status: 500 },
  'status-502': { fault: 'status', status: 502 },
  'status-503': { fault: 'status', status: 503, retryAfter: 0 },
  redirect: { fault: 'redirect' },
  'content-type': { fault: 'contentType' },
  gzip: { fault: 'compressed' },
  'broken-chunk': { fault: 'brokenChunk' },
  'cut-before': { fault: 'cutStream', at: 'before' },
  'cut-inside': { fault: 'cutStream', at: 'inside' },
  'cut-after': { fault: 'cutStream', at: 'after' },
  'no-blank-line': { fault: 'noBlankLine' },
  drip: { fault: 'slowDrip', delayMs: 1 },
  resume: { fault: 'retry', retryAfterMs: 50 },
  'lose-session': { fault: 'sessionLost', at: 'before' },
  'lose-session-inside': { fault: 'sessionLost', at: 'inside' },
};

const MESSAGES = Object.keys(CALLS).slice(0, Object.keys(CALLS).indexOf('stderr'));
const POSTS = ['refused', 'reset', 'status-429', 'status-500', 'status-502', 'status-503'];
const STREAMS = Object.keys(CALLS).slice(Object.keys(CALLS).indexOf('redirect'));

/** Those of each kind of server. */
export const CALL_FAULTS: Readonly<Record<ServerSpec['kind'], readonly string[]>> = {
  stdio: [...MESSAGES, 'stderr', 'close-stdout'],
  sessions: [...MESSAGES, ...POSTS, 'reset-after', ...STREAMS],
  // A POST without a session does not tell whose id was answered before: that id may be of another client's call that has not come yet.
  modern: [
    ...MESSAGES.filter((name) => name !== 'wrong-id'),
    ...POSTS,
    'reset-after',
    ...STREAMS.filter((name) => !name.startsWith('lose-session')),
  ],
  sse: [...MESSAGES, ...POSTS.filter((name) => name !== 'status-429')],
};

/** What can go wrong with the start of a process, as the variable START_FAULT says: every so many starts. */
export const START_FAULTS = ['refuse', 'slowStart', 'noise', 'deaf', 'daemon'] as const;

/** The rules of every server of the run: a call goes wrong as its own arguments say. */
export const CALL_RULES: readonly FaultRule[] = Object.entries(CALLS).map(([name, rule]) => ({
  ...rule,
  params: { arguments: { fault: name } },
}));
