import type { IncomingMessage, ServerResponse } from 'node:http';
import { OptionError } from '../../core/errors.js';
import { FetchRequest } from './FetchRequest.js';
import { FetchResponse } from './FetchResponse.js';

/** What a host knows of a request beside what stands in it. */
export interface FetchContext {
  /** The client's address, for what is shared out by address. @defaultValue all such clients have one share */
  readonly address?: string;
}

/**
 * Answers a web standard request by a node:http listener. Both bodies are streams; a reader that cancels, and the request's own
 * signal, end the exchange.
 */
export function fetchOnce(
  request: Request,
  context: FetchContext | null | undefined,
  handle: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<Response> {
  let incoming: FetchRequest;
  try {
    incoming = new FetchRequest(request, context?.address);
  } catch (error) {
    return Promise.reject(new OptionError('request', request, 'a Request', error));
  }
  const response = new FetchResponse(incoming.incoming);
  const { signal } = request;
  const gone = (): void => response.leave(signal?.reason);
  signal?.addEventListener('abort', gone, { once: true });
  // A request that is collected as garbage takes the abort of its signal with it: it is kept until the response is over.
  response.once('close', () => request.signal?.removeEventListener('abort', gone));
  // A body that breaks off is a client that went away in the middle of its request.
  incoming.once('close', () => {
    if (!incoming.readableEnded) response.leave(new Error('the body of the request broke off'));
  });
  if (signal?.aborted) gone();
  else handle(incoming.incoming, response.outgoing);
  return response.response;
}
