import type { Socket } from 'node:net';

/** Does the work so many ms later, unless the connection is closed by then. */
export function whileOpen(socket: Socket | null, ms: number, work: () => void): void {
  if (socket === null || socket.destroyed) return;
  const timer = setTimeout(() => {
    socket.off('close', stop);
    work();
  }, ms);
  timer.unref();
  const stop = (): void => clearTimeout(timer);
  socket.once('close', stop);
}
