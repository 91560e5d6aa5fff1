import type { Readable } from 'node:stream';
import type { HeldBytes } from '../HeldBytes.js';

/** How long a client that was refused may go on sending. */
const REST_MS = 5_000;
/** How long one that sends more than that may take to read its answer: a connection that ends with bytes unread ends by a reset, which takes the answer along. */
const LAST_MS = 1_000;

/**
 * Reads on in a body, or connection, that was refused and keeps nothing of it: its client gets to the answer, and a connection that it leaves is
 * seen to end, which one that is not read never is. Beyond another `maxBytes` nothing is read any more, and a second later, or after 5 s, the connection ends.
 */
export function forgetRest(request: Readable, maxBytes: number, { arriving }: HeldBytes): void {
  if (request.destroyed || request.readableEnded) return;
  let left = maxBytes;
  const end = (): void => void request.destroy();
  let timer = setTimeout(end, REST_MS).unref();
  const onData = (chunk: Buffer): void => {
    left -= chunk.length;
    if (left >= 0) return;
    request.off('data', onData).pause();
    clearTimeout(timer);
    timer = setTimeout(end, LAST_MS).unref();
  };
  const rest = { cut: (): void => over() };
  const over = (): void => {
    clearTimeout(timer);
    arriving.delete(rest);
    request.off('data', onData).off('end', over).off('close', over);
  };
  arriving.add(rest);
  request.on('data', onData).on('end', over).on('close', over);
  request.resume();
}
