import type { ServerResponse } from 'node:http';
import type { HeldBytes } from './HeldBytes.js';

/** Cuts a client that takes nothing: Node starts a socket's timeout anew at each progress of a write that is under way. */
function cutWhenStalled(response: ServerResponse, stallTimeoutMs: number): void {
  response.setTimeout(stallTimeoutMs, () => response.destroy());
}

/** The same for a part of a stream, until it has been taken. */
export function cutWhileStalled(response: ServerResponse, bytes: number, stallTimeoutMs: number): () => void {
  if (bytes < SMALL_BYTES) return () => undefined;
  cutWhenStalled(response, stallTimeoutMs);
  return () => void response.setTimeout(0);
}

/** Smaller answers leave in one packet or two, and are not worth counting. */
const SMALL_BYTES = 64 * 1_024;

/**
 * Counts a large answer as held until its client has taken it. A client that takes nothing of it for `stallTimeoutMs` is cut.
 * False when there is no room for it among what is held for all.
 */
export function holdAnswer(response: ServerResponse, bytes: number, held: HeldBytes, stallTimeoutMs: number): boolean {
  if (bytes < SMALL_BYTES) return true;
  // A client that has gone takes nothing any more; one that resumes elsewhere has its own stream, which counts.
  if (response.destroyed) return held.hasRoom(bytes);
  if (!held.take(bytes)) return false;
  cutWhenStalled(response, stallTimeoutMs);
  response.once('close', () => held.giveBack(bytes));
  return true;
}
