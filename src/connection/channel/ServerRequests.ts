import { messageOf, RpcError } from '../../core/errors.js';
import type { RequestHandler, ServerRequest } from '../protocol/messages.js';
import { RPC_CODES } from '../protocol/rpcCodes.js';
import type { Call } from './Call.js';
import { type MessageBounds, stringify } from './codec/encode.js';

/** Requests of one server that may be handled at once; more are refused. */
const MAX_OPEN = 256;

/** What a request gets that no handler answers. */
export function methodNotFound(server: string, method: string): RpcError {
  return new RpcError(server, RPC_CODES.methodNotFound, `method not found: ${method}`);
}

/** The requests a server makes of us: handled, answered once, cancelled when it says so. */
export class ServerRequests {
  readonly #post: (text: string, call: Call | undefined) => void;
  readonly #bounds: MessageBounds;
  readonly #open = new Map<string | number, AbortController>();
  #closed = false;

  constructor(post: (text: string, call: Call | undefined) => void, bounds: MessageBounds) {
    this.#post = post;
    this.#bounds = bounds;
  }

  /** Hands `request` to `handler` and its answer back; without a handler it is -32601. */
  serve(request: ServerRequest, handler: RequestHandler | undefined, stream: Call | undefined): void {
    if (handler === undefined) {
      this.#refuse(request.id, RPC_CODES.methodNotFound, `method not found: ${request.method}`, undefined, stream);
      return;
    }
    if (this.#open.size >= MAX_OPEN) {
      this.#refuse(request.id, RPC_CODES.internalError, `${MAX_OPEN} requests are being handled`, undefined, stream);
      return;
    }
    if (this.#open.has(request.id)) {
      const message = 'a request of this id is being handled';
      this.#refuse(request.id, RPC_CODES.invalidRequest, message, undefined, stream);
      return;
    }
    const control = new AbortController();
    this.#open.set(request.id, control);
    const done = (reply: () => void): void => {
      if (this.#open.get(request.id) === control) this.#open.delete(request.id);
      // A cancelled request gets no answer (spec, cancellation).
      if (!control.signal.aborted && !this.#closed) reply();
    };
    const answered = new Promise<unknown>((resolve) => {
      resolve(handler(request, { signal: control.signal }));
    }).then(
      (result) => done(() => this.answer(request.id, result ?? {}, stream)),
      (error: unknown) =>
        done(() => {
          if (error instanceof RpcError) this.#refuse(request.id, error.rpcCode, error.message, error.data, stream);
          else this.#refuse(request.id, RPC_CODES.internalError, messageOf(error), undefined, stream);
        }),
    );
    // Whatever the handler gave or threw, an odd error object too, ends here.
    answered.catch(() =>
      done(() => this.#refuse(request.id, RPC_CODES.internalError, 'internal error', undefined, stream)),
    );
  }

  /** An answer that is no JSON or over the cap goes out as an error: the server must not wait for ever. */
  answer(id: string | number, result: unknown, stream: Call | undefined): void {
    let text: string;
    try {
      text = stringify({ jsonrpc: '2.0', id, result }, this.#bounds);
    } catch (error) {
      this.#refuse(id, RPC_CODES.internalError, messageOf(error), undefined, stream);
      return;
    }
    this.#post(text, stream);
  }

  /** The server gave its request up. */
  cancel(id: unknown, reason: unknown): void {
    if (typeof id !== 'string' && typeof id !== 'number') return;
    this.#open.get(id)?.abort(reason);
    this.#open.delete(id);
  }

  /** The transport is gone: whatever is being handled is told. */
  close(): void {
    this.#closed = true;
    for (const control of this.#open.values()) control.abort(new Error('the connection is gone'));
    this.#open.clear();
  }

  #refuse(id: string | number, code: number, message: string, data: unknown, stream: Call | undefined): void {
    const error = data === undefined ? { code, message } : { code, message, data };
    let text: string;
    try {
      text = stringify({ jsonrpc: '2.0', id, error }, this.#bounds);
    } catch {
      // The data is what cannot be sent.
      text = JSON.stringify({ jsonrpc: '2.0', id, error: { code, message: message.slice(0, 256) } });
    }
    this.#post(text, stream);
  }
}
