import type { ServerResponse } from 'node:http';

/** Responses whose turn has not come, by socket. */
const waiting = new WeakMap<object, Set<ServerResponse>>();

/** Whether a response waits behind others on its connection, as of a client that pipelines: Node has given it no socket then. */
export function waitsItsTurn(response: ServerResponse): boolean {
  return response.socket === null && !response.writableFinished;
}

/** Whether its client keeps a response from leaving: one that is complete, or a page that waits for its turn behind such a one. */
export function isUnread({ writableEnded, req }: ServerResponse, first: ServerResponse | undefined): boolean {
  return writableEnded || (req.method === 'GET' && first?.writableEnded === true);
}

/**
 * Has a response that waits behind others end with its connection. Node tells a response nothing of that before its turn: its
 * 'close' would never come, and what listens for it would go on for ever. Any other response costs a look at it.
 */
export function endWithSocket(response: ServerResponse): void {
  if (!waitsItsTurn(response) || response.destroyed) return;
  const { socket } = response.req;
  // A request that was destroyed has none.
  if (socket?.destroyed !== false) {
    end(response);
    return;
  }
  let responses = waiting.get(socket);
  if (responses === undefined) {
    const all = new Set<ServerResponse>();
    responses = all;
    waiting.set(socket, all);
    socket.once('close', () => {
      for (const each of all) end(each);
      all.clear();
    });
  }
  if (responses.has(response)) return;
  responses.add(response);
  // From its turn on Node tells it.
  response.once('socket', () => responses.delete(response));
}

/** As Node ends the others: in a turn of its own, so that what one listener throws keeps nothing from the next response. */
function end(response: ServerResponse): void {
  response.destroy();
  process.nextTick(() => response.emit('close'));
}
