import type { FaultSpec } from './spec.js';

const call = { scope: 'call', wires: ['tcp'], settings: [] } as const;

/**
 * Faults of bytes, whatever they mean: of Redis, of a database, of anything behind a `TcpFaultProxy`. Each befalls one
 * exchange: what the client sends until the server answers, and that answer. A rule without a time befalls them all.
 */
export const TCP_FAULTS = Object.freeze({
  latency: {
    ...call,
    settings: ['delayMs', 'stream'],
    shows: "the bytes arrive so late (default: the plan's delayMs), in their order; jitter is a delayMs of a range",
    answer: 'the cluster limiter waits, within its storeTimeoutMs',
  },
  bandwidth: {
    ...call,
    settings: ['bytesPerSec', 'stream'],
    shows: 'no more than so many bytes pass in a second (default: 1024)',
    answer: 'the cluster limiter waits, within its storeTimeoutMs',
  },
  slicer: {
    ...call,
    settings: ['bytes', 'delayMs', 'stream'],
    shows: 'the bytes come in pieces of so many (default: 1), each so late after the last (default: 0: a turn later)',
    answer: 'the bytes, unharmed',
  },
  limitData: {
    ...call,
    settings: ['bytes', 'stream'],
    shows: 'so many bytes (default: 1) of the exchange pass, then both sides are closed',
    answer: 'the cluster limiter has lost its store: onStoreLost decides until it is back',
  },
  resetPeer: {
    ...call,
    settings: ['delayMs', 'stream'],
    shows: 'a reset instead of the answer; upstream: instead of the request, which the server never sees',
    answer: 'the cluster limiter has lost its store: onStoreLost decides until it is back',
  },
  timeout: {
    ...call,
    settings: ['delayMs'],
    shows: 'nothing passes either way any more; with delayMs both sides are closed after it',
    answer: 'the cluster limiter has lost its store once storeTimeoutMs is over',
  },
  slowClose: {
    ...call,
    settings: ['delayMs'],
    shows: 'the end of one side is passed on so late (default: 1000 ms)',
    answer: 'the end comes late and nothing is lost',
  },
}) satisfies Readonly<Record<string, FaultSpec>>;
