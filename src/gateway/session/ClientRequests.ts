import { Shares } from '../../concurrent/Shares.js';
import { respliced } from '../../connection/calls/spliced.js';
import { textOf } from '../../connection/channel/codec/exactText.js';
import { membersOf, memberText } from '../../connection/channel/codec/members.js';
import { isObject } from '../../connection/protocol/objectOf.js';
import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import type { Clock } from '../../core/clock.js';
import { QueueFullError, RpcError } from '../../core/errors.js';
import { META_TYPE } from '../aggregate/memberTypes.js';
import { HeldQuestions } from '../bridge/HeldQuestions.js';
import type { HeldBytes } from '../http/HeldBytes.js';
import type { Params } from '../rpc/envelope.js';
import type { Told } from '../rpc/notices.js';

/** A client's answer to a request: one of the two. */
export interface ClientAnswer {
  readonly result: unknown;
  readonly error: unknown;
}

interface Ask {
  readonly server: string;
  readonly settle: (answer: ClientAnswer) => void;
  readonly fail: (reason: unknown) => void;
  /** Sends it, by `by` if that is given, unless that was done; false when there was no stream for it. */
  readonly send: (by?: Send) => boolean;
}

export interface AskOptions {
  readonly server: string;
  readonly method: string;
  readonly params: Params | undefined;
  /** The server gave it up: then its client is told so. */
  readonly signal: AbortSignal;
  /** Sends on the stream of the call that it belongs to; without it, on any that is open. */
  readonly via?: Send | undefined;
}

/** Sends a message down to the client; false when no stream is open. */
export type Send = (message: Told) => boolean;

/** Params without what in their `_meta` would make them no message to clients, which would never answer. */
function askable(params: Params | undefined): Params | undefined {
  const meta = params?.['_meta'];
  if (meta === undefined || params === undefined) return params;
  const kept = META_TYPE(meta, '_meta', new Set());
  return kept === meta ? params : respliced(params, { ...params, _meta: kept });
}

/** The id of a question of any replica. */
const ASK_ID = /^ask-([0-9a-f]{8})-\d+$/;

/** The replica whose question has that id. */
export const askedBy = (id: unknown): string | undefined => ASK_ID.exec(String(id))?.[1];

export interface ClientRequestsLimits {
  /** Questions at once; one server's leave room for others'. */
  readonly maxRequestsPerSession: number;
  /** Names this process in the ids of its questions, whose answers may come to another. */
  readonly replica: string;
  /** Bytes held over all sessions. */
  readonly held: HeldBytes;
}

/** How long a question waits for its client to open a stream, in ms. */
const STREAM_WAIT_MS = 10_000;

/** Servers' requests that wait for their client's answer, under ids of our own. */
export class ClientRequests {
  readonly #send: Send;
  /** Questions that are open, by server. */
  readonly #shares: Shares;
  readonly #clock: Clock;
  readonly #replica: string;
  readonly held: HeldQuestions;
  readonly #open = new Map<string, Ask>();
  #next = 1;

  /** `owner`: whose share it counts to what is asked. */
  constructor(owner: string, send: Send, { maxRequestsPerSession, replica, held }: ClientRequestsLimits, clock: Clock) {
    this.held = new HeldQuestions(owner, held);
    this.#send = send;
    this.#shares = new Shares(maxRequestsPerSession);
    this.#clock = clock;
    this.#replica = replica;
  }

  get size(): number {
    return this.#open.size;
  }

  /** Resolves to the client's result; rejects with its error as an `RpcError`, with the reason of `signal` or `close`. */
  ask({ server, method, params: given, signal, via }: AskOptions): Promise<unknown> {
    if (signal.aborted) return Promise.reject(signal.reason);
    const shares = this.#shares;
    if (!shares.mayTake(server, 1)) {
      return Promise.reject(new QueueFullError('questions to this client', shares.taken, shares.max));
    }
    const params = askable(given);
    let giveBack: () => void;
    try {
      giveBack = this.held.hold(server, params);
    } catch (error) {
      return Promise.reject(error);
    }
    const id = `ask-${this.#replica}-${this.#next++}`;
    return new Promise((resolve, reject) => {
      let sent: Send | undefined;
      let waiting: Disposable | undefined;
      const end = (): void => {
        waiting?.[Symbol.dispose]();
        giveBack();
        shares.add(server, -1);
        this.#open.delete(id);
        signal.removeEventListener('abort', onAbort);
      };
      const fail = (reason: unknown): void => {
        end();
        reject(reason);
      };
      const onAbort = (): void => {
        fail(signal.reason);
        sent?.({ method: 'notifications/cancelled', params: { requestId: id } });
      };
      const settle = ({ result, error }: ClientAnswer): void => {
        end();
        // Some clients write both members, one of them null.
        if (error !== undefined && (error !== null || result === undefined)) reject(rpcError(server, error));
        // Servers take no message with another for an answer, and wait on.
        else if (isObject(result)) resolve(result);
        else reject(new RpcError(server, RPC_CODES.internalError, "the client's result is no object"));
      };
      const message = { id, method, params };
      const send = (by?: Send): boolean => {
        if (sent !== undefined) return true;
        if (by === undefined && via?.(message) === true) sent = via;
        else if ((by ?? this.#send)(message)) sent = this.#send;
        if (sent !== undefined) waiting?.[Symbol.dispose]();
        return sent !== undefined;
      };
      this.#open.set(id, { server, settle, fail, send });
      shares.add(server, 1);
      signal.addEventListener('abort', onAbort, { once: true });
      if (send()) return;
      const late = (): void =>
        fail(new RpcError(server, RPC_CODES.internalError, 'the client has no stream open to be asked on'));
      waiting = this.#clock.setTimer(late, STREAM_WAIT_MS);
    });
  }

  /** What a client answered; an answer to nothing is dropped. False for one to a question of another process. */
  answer(id: unknown, answer: ClientAnswer): boolean {
    const text = String(id);
    const ask = this.#open.get(text);
    ask?.settle(answer);
    return ask !== undefined || text.startsWith(`ask-${this.#replica}-`) || !ASK_ID.test(text);
  }

  /** A stream is open: what waited for one goes out, by `by` if that is given, in order, and up to the first for which there is no room. */
  flush(by?: Send): void {
    for (const { send } of [...this.#open.values()]) if (!send(by)) return;
  }

  close(reason: unknown): void {
    for (const { fail } of [...this.#open.values()]) fail(reason);
  }
}

function rpcError(server: string, error: unknown): RpcError {
  const { code, message, data } = (typeof error === 'object' && error !== null ? error : {}) as Record<string, unknown>;
  const known = Number.isSafeInteger(code) && typeof message === 'string';
  const text = textOf(error);
  return known
    ? new RpcError(server, code as number, message, data, text && memberText(text, membersOf(text) ?? [], 'data'))
    : new RpcError(server, RPC_CODES.internalError, 'the client failed');
}
