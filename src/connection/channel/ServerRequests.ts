import { messageOf, RpcError } from '../../core/errors.js';
import type { RequestHandler, ServerRequest } from '../protocol/messages.js';
import { RPC_CODES } from '../protocol/rpcCodes.js';
import type { Call } from './Call.js';
import type { ChannelTransport, ReplyPath } from './ChannelOptions.js';
import { encodeAnswer, encodeRefusal, type MessageBounds, type Refused } from './codec/encode.js';
import { memoryWithText } from './codec/exactText.js';

/** Requests of one connection that may be handled at once; more are refused. */
const MAX_OPEN = 256;
/** What they may take in memory, in bytes; one alone is bounded by the size of a message. */
const MAX_OPEN_BYTES = 32 * 1_024 * 1_024;
/** Its id stays with it, wherever it waits. */
const MAX_ID_CHARS = 1_024;

/**
 * A reply of more characters is large: clients bring those about, by what they answer, while a flood of a server's own asking makes
 * many small ones. So they have room of their own, where one is always taken, and end no connection.
 */
export const LARGE_REPLY_CHARS = 16 * 1_024;

/** What a request gets that no handler answers. */
export function methodNotFound(server: string, method: string): RpcError {
  return new RpcError(server, RPC_CODES.methodNotFound, `method not found: ${method}`);
}

/** The requests a server makes of us: handled, answered once, cancelled when it says so. */
export class ServerRequests {
  readonly #transport: Pick<ChannelTransport, 'post' | 'pathOf'>;
  readonly #bounds: MessageBounds;
  readonly #onReply: () => void;
  readonly #open = new Map<string | number, AbortController>();
  #openBytes = 0;
  #closed = false;

  /** `onReply`: told of each that goes out. */
  constructor(
    transport: Pick<ChannelTransport, 'post' | 'pathOf'>,
    bounds: MessageBounds,
    onReply: () => void = () => undefined,
  ) {
    this.#transport = transport;
    this.#bounds = bounds;
    this.#onReply = onReply;
  }

  /** Where the answer to a request on that call's stream, or on none, goes. */
  pathOf(stream: Call | undefined): ReplyPath | undefined {
    return this.#transport.pathOf?.(stream);
  }

  /** Hands `request` to `handler` and its answer back; without a handler it is -32601. */
  serve(request: ServerRequest, handler: RequestHandler | undefined, path: ReplyPath | undefined): void {
    if (handler === undefined) {
      this.refuse(request.id, { code: RPC_CODES.methodNotFound, message: `method not found: ${request.method}` }, path);
      return;
    }
    if (this.#open.size >= MAX_OPEN) {
      this.refuse(
        request.id,
        { code: RPC_CODES.internalError, message: `${MAX_OPEN} requests are being handled` },
        path,
      );
      return;
    }
    if (String(request.id).length > MAX_ID_CHARS) {
      const message = `the id of a request may have ${MAX_ID_CHARS} characters`;
      this.refuse(request.id, { code: RPC_CODES.invalidRequest, message }, path);
      return;
    }
    if (this.#open.has(request.id)) {
      const message = 'a request of this id is being handled';
      this.refuse(request.id, { code: RPC_CODES.invalidRequest, message }, path);
      return;
    }
    const bytes = memoryWithText(request.params) + 2 * request.method.length;
    if (this.#openBytes > 0 && this.#openBytes + bytes > MAX_OPEN_BYTES) {
      const message = `requests of ${this.#openBytes} bytes in memory are being handled, ${MAX_OPEN_BYTES} allowed`;
      this.refuse(request.id, { code: RPC_CODES.internalError, message }, path);
      return;
    }
    const control = new AbortController();
    this.#open.set(request.id, control);
    this.#openBytes += bytes;
    let handled = false;
    const done = (reply: () => void): void => {
      // Also of one that was cancelled: its handler has the params for as long as it runs.
      if (!handled) this.#openBytes -= bytes;
      handled = true;
      if (this.#open.get(request.id) === control) this.#open.delete(request.id);
      // A cancelled request gets no answer (spec, cancellation).
      if (!control.signal.aborted && !this.#closed) reply();
    };
    const answered = begun(handler, request, { signal: control.signal, server: this.#bounds.server }).then(
      (result) => done(() => this.answer(request.id, result ?? {}, path)),
      (error: unknown) =>
        done(() => {
          if (error instanceof RpcError) {
            const { rpcCode: code, message, data, dataText } = error;
            this.refuse(request.id, { code, message, data, dataText }, path);
          } else this.refuse(request.id, { code: RPC_CODES.internalError, message: messageOf(error) }, path);
        }),
    );
    // Whatever the handler gave or threw, an odd error object too, ends here.
    answered.catch(() =>
      done(() => this.refuse(request.id, { code: RPC_CODES.internalError, message: 'internal error' }, path)),
    );
  }

  /** An answer that is no JSON or over the cap goes out as an error: the server must not wait for ever. */
  answer(id: string | number, result: unknown, path: ReplyPath | undefined): void {
    let text: string;
    try {
      text = encodeAnswer(id, result, this.#bounds);
    } catch (error) {
      this.refuse(id, { code: RPC_CODES.internalError, message: messageOf(error) }, path);
      return;
    }
    if (this.#post(text, path) !== false) return;
    const message = `the answer of ${text.length} characters found no room: large ones wait already`;
    this.refuse(id, { code: RPC_CODES.internalError, message }, path);
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

  /** It is not handled, or its handler failed. */
  refuse(id: string | number, refused: Refused, path: ReplyPath | undefined): void {
    const { code, message } = refused;
    try {
      if (this.#post(encodeRefusal(id, refused, this.#bounds), path) !== false) return;
    } catch {
      // The data is what cannot be sent.
    }
    this.#post(JSON.stringify({ jsonrpc: '2.0', id, error: { code, message: message.slice(0, 256) } }), path);
  }

  #post(text: string, path: ReplyPath | undefined): unknown {
    this.#onReply();
    return this.#transport.post(text, path);
  }
}

/** By itself, so that what waits for the answer keeps no handler, which may be a call's. */
export function begun(
  handler: RequestHandler,
  request: ServerRequest,
  context: Parameters<RequestHandler>[1],
): Promise<unknown> {
  try {
    return Promise.resolve(handler(request, context));
  } catch (error) {
    return Promise.reject(error);
  }
}
