import { inTurn } from '../../../core/time/turns.js';
import type { Rewriter } from './Rewriter.js';

/** What is gone through in one turn: 3 ms where much is nested. */
const TURN_BYTES = 256 * 1_024;
/** Where many members or strings are to be looked at it takes longer: then a turn is over after so long, seen between two steps. */
const TURN_MS = 4;
const STEP_BYTES = 16 * 1_024;
/** Strings may become longer. */
const SPARE_BYTES = 64 * 1_024;

/**
 * A result that came whole as a rewriter changes it; the same bytes when it changes nothing. One that is not small is gone through step by step: at
 * once where that takes no longer than a turn may, else in turns of the event loop that all such steps share, so that nothing else waits for all of it.
 * Throws, or rejects, with what the rewriter throws.
 */
export function rewritten(result: Uint8Array, rewriter: Rewriter): Uint8Array | Promise<Uint8Array> {
  const bytes = Buffer.from(result.buffer, result.byteOffset, result.byteLength);
  if (bytes.length > STEP_BYTES) return inSteps(result, bytes, rewriter);
  const told = rewriter.push(bytes);
  return rewriter.changed ? told : result;
}

function inSteps(result: Uint8Array, bytes: Buffer, rewriter: Rewriter): Uint8Array | Promise<Uint8Array> {
  // What is not written yet takes no memory.
  let out = Buffer.allocUnsafeSlow(bytes.length + SPARE_BYTES);
  let length = 0;
  const step = (at: number): void => {
    const part = rewriter.push(bytes.subarray(at, at + STEP_BYTES));
    if (length + part.length > out.length) {
      const grown = Buffer.allocUnsafeSlow(2 * out.length + part.length);
      out.copy(grown, 0, 0, length);
      out = grown;
    }
    part.copy(out, length);
    length += part.length;
  };
  let at = 0;
  const turn = (): void => {
    const endMs = performance.now() + TURN_MS;
    const end = Math.min(at + TURN_BYTES, bytes.length);
    for (; at < end && performance.now() < endMs; at += STEP_BYTES) step(at);
  };
  const told = (): Uint8Array => (rewriter.changed ? out.subarray(0, length) : result);
  const others = async (): Promise<Uint8Array> => {
    while (at < bytes.length) await inTurn(turn);
    return told();
  };
  if (bytes.length <= TURN_BYTES) turn();
  return at < bytes.length ? others() : told();
}
