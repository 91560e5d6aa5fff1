import type { Socket } from 'node:net';
import type { buildConnector } from 'undici';
import { parserOf } from './undici.js';

/**
 * A connector whose sockets can end while the reading of a response is paused. undici 7 asserts in their `end`, `error` and
 * `close` listeners that it is not, where no caller can catch it: a server that closes at such a moment ended the process
 * (nodejs/undici#5360; corrected in 8, which needs Node 22). Before undici hears of the end, its parser is told to go on.
 */
export function endsWhilePaused(connect: buildConnector.connector): buildConnector.connector {
  return (options, callback) =>
    connect(options, (...result) => {
      // Undefined or null when it could not connect.
      const socket = result[1] as Socket | null | undefined;
      if (socket) for (const event of ['end', 'error', 'close']) onEarly(socket, event);
      callback(...result);
    });
}

/** undici adds its own listeners later, and is called after this one. */
function onEarly(socket: Socket, event: string): void {
  socket.on(event, () => {
    const parser = parserOf(socket);
    if (!parser?.paused || parser.ptr === null) return;
    // What it still has is read to its end, which may complete the response.
    if (!socket.destroyed) parser.resume();
    // Reading paused once more, or the socket is gone: nothing more will come.
    if (parser.paused && parser.ptr !== null) {
      parser.llhttp.llhttp_resume(parser.ptr);
      parser.paused = false;
    }
  });
}
