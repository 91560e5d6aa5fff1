import { tellListener } from '../../core/events.js';
import type { Logger } from '../../core/logger.js';
import {
  LIST_CHANGES,
  META_SUBSCRIPTION_ID,
  type Params,
  type RequestHandler,
  type ServerNotice,
  type ServerRequest,
} from '../protocol/messages.js';
import { RPC_CODES } from '../protocol/rpcCodes.js';
import type { Arrival } from './Arrival.js';
import type { Call } from './Call.js';
import type { ChannelCounters } from './ChannelOptions.js';
import { isDeep, MAX_DEPTH } from './codec/depth.js';
import { begun, type ServerRequests } from './ServerRequests.js';

export interface InboxOptions {
  readonly server: string;
  readonly logger: Logger;
  readonly requests: ServerRequests;
  /** The call of that id, while it is pending. */
  readonly pending: (id: unknown) => Call | undefined;
  /** Progress of a call came. */
  readonly onProgress: (call: Call, params: Params) => void;
  /** The server asks something, on the stream of that call if on one: what is returned is called once it has its answer. */
  readonly onAsk: (stream: Call | undefined) => () => void;
  readonly counters: ChannelCounters;
  /** Notifications that belong to no call. */
  readonly onNotification: ((notice: ServerNotice) => void) | undefined;
  /** Requests that belong to no call; without one they get -32601. */
  readonly onRequest: RequestHandler | undefined;
}

/** What a server sends of its own accord, on its way to the call it belongs to, or to the listeners of the connection. */
export class Inbox {
  readonly #options: InboxOptions;

  constructor(options: InboxOptions) {
    this.#options = options;
  }

  /** A notification or request came; false when its id is none. */
  received(id: unknown, method: string, params: Params | undefined | false, { stream, text, deep }: Arrival): boolean {
    if (params === false) this.#dropped(id, method, stream, 'its params are no object');
    else if (deep ?? (text !== undefined && isDeep(text)))
      this.#dropped(id, method, stream, `it is nested deeper than ${MAX_DEPTH} levels`);
    else if (id === undefined) this.#notified(method, params, stream);
    else if (typeof id === 'number' || typeof id === 'string') this.#requested(id, method, params, stream);
    else return false;
    return true;
  }

  /** It is nothing that could be looked into. */
  #dropped(id: unknown, method: string, stream: Call | undefined, why: string): void {
    const { server, logger, counters, requests } = this.#options;
    counters.garbage++;
    logger.warn({ server, method }, `a message of the server was dropped: ${why}`);
    if (typeof id === 'number' || typeof id === 'string')
      requests.refuse(id, { code: RPC_CODES.invalidRequest, message: why }, requests.pathOf(stream));
  }

  /** A callback must not disturb the connection that calls it: what it throws is logged and counted. */
  tell<T>(callback: ((payload: T) => void) | undefined, payload: T): void {
    if (callback !== undefined) tellListener(callback, payload, (error) => this.threw(error));
  }

  /** A callback threw, or rejected: it is logged and counted, and the connection goes on. */
  threw(error: unknown): void {
    this.#options.counters.callbackErrors++;
    this.#options.logger.error({ error, server: this.#options.server }, 'a callback failed');
  }

  #notified(method: string, params: Params | undefined, stream: Call | undefined): void {
    const { pending, requests, onProgress, onNotification } = this.#options;
    if (method === 'notifications/progress') {
      const owner = pending(params?.['progressToken']);
      if (owner !== undefined && params !== undefined) onProgress(owner, params);
      return;
    }
    if (method === 'notifications/cancelled') {
      requests.cancel(params?.['requestId'], params?.['reason']);
      return;
    }
    if (!method.startsWith('notifications/')) {
      // What is asked without an id no client can answer: past all that looks at questions it would be told as if it were news.
      this.#dropped(undefined, method, stream, 'it is a request without an id');
      return;
    }
    const notice: ServerNotice = params === undefined ? { method } : { method, params };
    // A changed list concerns all who use the connection, on whatever call's stream it is told.
    const own = LIST_CHANGES.has(method) ? undefined : stream;
    // A subscription's own id tells whose it is, also on a transport without streams (2026-07-28, subscriptions).
    const owner = own ?? pending((params?.['_meta'] as Params | undefined)?.[META_SUBSCRIPTION_ID]);
    if (owner !== undefined && owner.phase !== 'settled' && owner.options.onNotification !== undefined) {
      this.tell(owner.options.onNotification, notice);
    } else this.tell(onNotification, notice);
  }

  #requested(id: string | number, method: string, params: Params | undefined, stream: Call | undefined): void {
    const { requests, counters, onRequest, onAsk } = this.#options;
    if (method === 'ping') {
      requests.answer(id, {}, requests.pathOf(stream));
      return;
    }
    const own = stream?.phase === 'settled' ? undefined : stream?.options.onRequest;
    if (own === undefined) counters.orphanRequests++;
    const handler = own ?? onRequest;
    const request = params === undefined ? { id, method } : { id, method, params };
    const asking =
      handler && ((asked: ServerRequest, context: AskContext) => ask(handler, asked, context, onAsk(stream)));
    requests.serve(request, asking, requests.pathOf(stream));
  }
}

type AskContext = Parameters<RequestHandler>[1];

/** What waits for the answer keeps nothing of the call, which may be over long before. */
function ask(
  handler: RequestHandler,
  request: ServerRequest,
  context: AskContext,
  answered: () => void,
): Promise<unknown> {
  const { signal } = context;
  const over = (): void => {
    signal.removeEventListener('abort', answered);
    answered();
  };
  // The server may give it up, and not every handler obeys its signal.
  signal.addEventListener('abort', answered, { once: true });
  return begun(handler, request, context).finally(over);
}
