import type { Socket } from 'node:net';
import type { buildConnector } from 'undici';

/**
 * A connector whose sockets hand out their buffer's size at a time, however much waits there. undici takes all that waits when a paused
 * response goes on, parses up to the next pause, and puts the rest back. A socket that is emptied reads on at once: what waits would grow
 * in each turn by what came meanwhile, without bound, and all of it would be copied each time. One that keeps its rest does not read.
 */
export function boundedReads(connect: buildConnector.connector): buildConnector.connector {
  return (options, callback) =>
    connect(options, (...result) => {
      // Undefined or null when it could not connect.
      const socket = result[1] as Socket | null | undefined;
      if (socket) bound(socket);
      callback(...result);
    });
}

function bound(socket: Socket): void {
  const read = socket.read;
  // More would make the buffer larger, which is how a stream takes the wish for more.
  const maxBytes = socket.readableHighWaterMark;
  socket.read = (bytes) =>
    read.call(socket, bytes === undefined && socket.readableLength > maxBytes ? maxBytes : bytes);
}
