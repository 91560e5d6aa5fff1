import type { IncomingMessage } from 'node:http';
import type { HeldBytes } from '../HeldBytes.js';

/** How long a client that was refused may go on sending. */
const REST_MS = 5_000;

/**
 * Reads on in a body that was refused and keeps nothing of it: its client gets to the answer, and a connection that it leaves is
 * seen to end, which one that is not read never is. Beyond another `maxBytes`, or after 5 s, the connection ends.
 */
export function forgetRest(request: IncomingMessage, maxBytes: number, { arriving }: HeldBytes): void {
  if (request.destroyed || request.readableEnded) return;
  let left = maxBytes;
  const onData = (chunk: Buffer): void => {
    left -= chunk.length;
    if (left < 0) request.destroy();
  };
  const rest = { cut: (): void => over() };
  const timer = setTimeout(() => request.destroy(), REST_MS).unref();
  const over = (): void => {
    clearTimeout(timer);
    arriving.delete(rest);
    request.off('data', onData).off('end', over).off('close', over);
  };
  arriving.add(rest);
  request.on('data', onData).on('end', over).on('close', over);
  request.resume();
}
