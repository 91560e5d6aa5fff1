import type { IncomingMessage, ServerResponse } from 'node:http';
import type { HttpListenerOptions } from '../../wire/http/HttpListener.js';
import type { RpcMessage } from '../../wire/messages.js';

/** One HTTP request that came to a fake server, with its body read. */
export interface FakeHttpExchange {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  /** The message in the body; undefined where there is no body. */
  readonly message: RpcMessage | undefined;
}

/** Where a fake server listens. */
export interface FakeHttpOptions extends HttpListenerOptions {
  /**
   * Handed each request before the server answers it; `true`: it has been answered, or never will be. For answers that no
   * fault of a plan gives. What it throws cuts the connection. @defaultValue none
   */
  readonly intercept?: (exchange: FakeHttpExchange) => boolean | undefined | Promise<boolean | undefined>;
}
