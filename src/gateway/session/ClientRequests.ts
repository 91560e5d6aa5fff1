import { QueueFullError, RpcError } from '../../core/errors.js';
import type { Params } from '../rpc/envelope.js';

/** A client's answer to a request: one of the two. */
export interface ClientAnswer {
  readonly result: unknown;
  readonly error: unknown;
}

interface Ask {
  readonly server: string;
  readonly settle: (answer: ClientAnswer) => void;
  readonly fail: (reason: unknown) => void;
}

export interface AskOptions {
  readonly server: string;
  readonly method: string;
  readonly params: Params | undefined;
  /** The server gave it up: then its client is told so. */
  readonly signal: AbortSignal;
}

/** Sends a message down to the client; false when no stream is open. */
type Send = (message: object) => boolean;

const INTERNAL_ERROR = -32_603;

/** Servers' requests that wait for their client's answer, under ids of our own. */
export class ClientRequests {
  readonly #send: Send;
  readonly #max: number;
  readonly #open = new Map<string, Ask>();
  #next = 1;

  constructor(send: Send, max: number) {
    this.#send = send;
    this.#max = max;
  }

  get size(): number {
    return this.#open.size;
  }

  /** Resolves to the client's result; rejects with its error as an `RpcError`, with the reason of `signal` or `close`. */
  ask({ server, method, params, signal }: AskOptions): Promise<unknown> {
    if (signal.aborted) return Promise.reject(signal.reason);
    const { size } = this.#open;
    if (size >= this.#max) return Promise.reject(new QueueFullError('questions to this client', size, this.#max));
    const id = `ask-${this.#next++}`;
    return new Promise((resolve, reject) => {
      const end = (): void => {
        this.#open.delete(id);
        signal.removeEventListener('abort', onAbort);
      };
      const fail = (reason: unknown): void => {
        end();
        reject(reason);
      };
      const onAbort = (): void => {
        fail(signal.reason);
        this.#send({ method: 'notifications/cancelled', params: { requestId: id } });
      };
      const settle = ({ result, error }: ClientAnswer): void => {
        end();
        if (error === undefined) resolve(result);
        else reject(rpcError(server, error));
      };
      this.#open.set(id, { server, settle, fail });
      signal.addEventListener('abort', onAbort, { once: true });
      if (!this.#send({ id, method, ...(params === undefined ? {} : { params }) })) {
        fail(new RpcError(server, INTERNAL_ERROR, 'the client has no stream open to be asked on'));
      }
    });
  }

  /** What a client answered; an answer to nothing is dropped. */
  answer(id: unknown, answer: ClientAnswer): void {
    this.#open.get(String(id))?.settle(answer);
  }

  close(reason: unknown): void {
    for (const { fail } of [...this.#open.values()]) fail(reason);
  }
}

function rpcError(server: string, error: unknown): RpcError {
  const { code, message, data } = (typeof error === 'object' && error !== null ? error : {}) as Record<string, unknown>;
  const known = typeof code === 'number' && typeof message === 'string';
  return known ? new RpcError(server, code, message, data) : new RpcError(server, INTERNAL_ERROR, 'the client failed');
}
