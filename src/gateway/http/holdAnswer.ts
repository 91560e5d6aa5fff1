import type { ServerResponse } from 'node:http';
import type { HeldBytes } from './HeldBytes.js';

/** Smaller answers leave in one packet or two, and are not worth counting. */
const SMALL_BYTES = 64 * 1_024;

/**
 * Counts a large answer as held until its client has taken it. A client that takes nothing of it for `stallTimeoutMs` is cut.
 * False when there is no room for it among what is held for all.
 */
export function holdAnswer(response: ServerResponse, bytes: number, held: HeldBytes, stallTimeoutMs: number): boolean {
  // One that has gone takes nothing any more.
  if (bytes < SMALL_BYTES || response.destroyed) return true;
  if (!held.take(bytes)) return false;
  // Node starts a socket's timeout anew at each progress of a write that is under way.
  response.setTimeout(stallTimeoutMs, () => response.destroy());
  response.once('close', () => held.giveBack(bytes));
  return true;
}
