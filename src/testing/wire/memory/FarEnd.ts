import type { Connection } from '../../../connection/Connection.js';
import type { Call } from '../../../connection/channel/Call.js';
import type { ServerNotice, ServerRequest } from '../../../connection/protocol/messages.js';
import { messageOf, RpcError } from '../../../core/errors.js';
import { answer, failure, parseMessage, type RpcMessage } from '../messages.js';

/** The wire, as its server's end sees it. */
export interface NearEnd {
  /** The call of that id, while it is pending. */
  callOf(id: unknown): Call | undefined;
  answered(message: RpcMessage, text: string): void;
  /** The server gave no answer. */
  failed(id: unknown, error: unknown): void;
  /** The server says or asks something, on the stream of a call or on none. */
  tells(message: ServerNotice | ServerRequest, call?: Call): void;
}

/** The server's end of a wire in memory: what arrives there goes to the inner connection, and what comes of it goes back. */
export class FarEnd {
  readonly #inner: Connection;
  readonly #near: NearEnd;
  /** Calls the inner connection has, by their id on the wire. */
  readonly #running = new Map<unknown, AbortController>();
  readonly #lost = new WeakSet<AbortController>();
  /** Requests of the server that wait for our client's answer. */
  readonly #asked = new Map<unknown, { resolve(result: unknown): void; reject(error: unknown): void }>();
  #asks = 0;

  constructor(inner: Connection, near: NearEnd) {
    this.#inner = inner;
    this.#near = near;
    inner.setRequestHandler((request, { signal }) => this.#ask(request, signal, undefined));
  }

  /** A message of our client. */
  receive(message: RpcMessage): void {
    const { id, method, params } = message;
    if (method === 'notifications/cancelled') {
      const requestId = params?.['requestId'];
      const running = this.#running.get(requestId);
      this.#running.delete(requestId);
      running?.abort(params?.['reason']);
    } else if (method === undefined) {
      const asked = this.#asked.get(id);
      this.#asked.delete(id);
      const error = message.error as { code: number; message: string; data?: unknown } | undefined;
      if (error === undefined) asked?.resolve(message.result);
      else asked?.reject(new RpcError(this.#inner.server, error.code, error.message, error.data));
    } else {
      const call = this.#near.callOf(id);
      if (call !== undefined) void this.#run(call);
    }
  }

  /** That call's answer is lost on its way, should one come. */
  lose(id: unknown): void {
    const running = this.#running.get(id);
    if (running !== undefined) this.#lost.add(running);
  }

  /** Never rejects: what comes of it goes back over the wire. */
  async #run(call: Call): Promise<void> {
    const { id, method, params, options } = call;
    const control = new AbortController();
    this.#running.set(id, control);
    try {
      const result = await this.#inner.request(method, params, {
        ...options,
        signal: control.signal,
        // The channel on this side is the one that times calls out, and tells the server so as a wire does.
        timeoutMs: Number.POSITIVE_INFINITY,
        maxTotalTimeoutMs: Number.POSITIVE_INFINITY,
        untilMs: Number.POSITIVE_INFINITY,
        ...(options.onProgress && {
          onProgress: (progress) =>
            this.#near.tells({ method: 'notifications/progress', params: { ...progress, progressToken: id } }, call),
        }),
        ...(options.onNotification && { onNotification: (notice: ServerNotice) => this.#near.tells(notice, call) }),
        ...(options.onRequest && {
          onRequest: (request: ServerRequest, { signal }: { signal: AbortSignal }) => this.#ask(request, signal, call),
        }),
      });
      if (this.#lost.has(control)) return;
      const text =
        result instanceof Uint8Array
          ? `{"jsonrpc":"2.0","id":${id},"result":${Buffer.from(result).toString('utf8')}}`
          : answer(id, result);
      this.#near.answered(result instanceof Uint8Array ? (parseMessage(text) ?? {}) : { id, result }, text);
    } catch (error) {
      if (this.#lost.has(control)) return;
      if (error instanceof RpcError) {
        const text = failure(id, error.rpcCode, error.message, error.data);
        this.#near.answered(parseMessage(text) ?? {}, text);
      } else this.#near.failed(id, error);
    } finally {
      if (this.#running.get(id) === control) this.#running.delete(id);
    }
  }

  #ask(request: ServerRequest, signal: AbortSignal, call: Call | undefined): Promise<unknown> {
    const id = `server-${++this.#asks}`;
    return new Promise((resolve, reject) => {
      this.#asked.set(id, { resolve, reject });
      signal.addEventListener('abort', () => {
        this.#asked.delete(id);
        this.#near.tells({
          method: 'notifications/cancelled',
          params: { requestId: id, reason: messageOf(signal.reason) },
        });
        reject(signal.reason);
      });
      this.#near.tells({ ...request, id }, call);
    });
  }
}
