import type { ServerResponse } from 'node:http';

const answerStreams = new WeakSet<ServerResponse>();

/** Other requests are answered on that event stream of a GET: what opened it ends it, once they are. */
export function answersTravelOn(response: ServerResponse): void {
  answerStreams.add(response);
}

/** Whether a response is an event stream that a GET opened, which has no end of its own. */
export function isSubscription(response: ServerResponse): boolean {
  if (!response.headersSent || response.req.method !== 'GET' || answerStreams.has(response)) return false;
  // `getHeader` does not know headers that went straight to `writeHead`; `_header` is the head as it was sent.
  const head = String(Reflect.get(response, '_header'));
  return /^content-type:\s*text\/event-stream/im.test(head);
}
