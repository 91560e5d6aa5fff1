import type { Socket } from 'node:net';

/**
 * Resets a connection. Node and libuv refuse to while its end is on its way (EINVAL), keep the handle open for ever, and spin when the
 * process ends: such a connection is closed.
 */
export function resetSocket(socket: Socket | null | undefined): void {
  if (socket?.writableEnded === true && !socket.writableFinished) socket.destroy();
  else socket?.resetAndDestroy();
}
