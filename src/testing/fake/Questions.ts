import type { Params } from '../../connection/protocol/messages.js';
import type { RpcId, RpcMessage } from '../wire/messages.js';

/** Where a session's messages go; `about`: the request they belong to, where they do. */
export type Send = (text: string, about: RpcId | undefined) => void;

/** What a server of the legacy era asks its client, and what is not answered yet. */
export class Questions {
  readonly #send: Send;
  readonly #open = new Map<RpcId, (reply: RpcMessage) => void>();
  #asks = 0;

  constructor(send: Send) {
    this.#send = send;
  }

  /** Asks about a call; resolves to the client's reply, and rejects when the call is cancelled first. */
  ask(about: RpcId, method: string, params: Params | undefined, signal: AbortSignal): Promise<RpcMessage> {
    return new Promise((resolve, reject) => {
      signal.throwIfAborted();
      const id = `ask-${++this.#asks}`;
      const given = (): void => {
        this.#open.delete(id);
        reject(signal.reason);
      };
      // The question may be lost with the stream that a caller lets go of: nothing answers it then.
      signal.addEventListener('abort', given, { once: true });
      this.#open.set(id, (reply) => {
        signal.removeEventListener('abort', given);
        resolve(reply);
      });
      this.#send(JSON.stringify({ jsonrpc: '2.0', id, method, ...(params && { params }) }), about);
    });
  }

  /** A reply of the client's. */
  answered(reply: RpcMessage & { readonly id: RpcId }): void {
    this.#open.get(reply.id)?.(reply);
    this.#open.delete(reply.id);
  }

  clear(): void {
    this.#open.clear();
  }
}
