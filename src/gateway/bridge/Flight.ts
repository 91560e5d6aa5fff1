import { randomUUID } from 'node:crypto';
import { exactText } from '../../connection/channel/codec/exactText.js';
import { methodNotFound } from '../../connection/channel/ServerRequests.js';
import type { CallClient, RequestHandler, ServerRequest } from '../../connection/protocol/messages.js';
import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import { RpcError } from '../../core/errors.js';
import { type AbortEntry, Cancellation } from '../../core/wait/Cancellation.js';
import type { CallOptions } from '../endpoint/Endpoint.js';
import type { HeldBytes } from '../http/HeldBytes.js';
import { canBeAsked, type Params } from '../rpc/envelope.js';
import { HeldQuestions } from './HeldQuestions.js';

interface Question {
  /** As its client reads it, by its key, JSON: written once, however often it is told. */
  readonly text: () => Buffer;
  readonly answer: (result: unknown) => void;
  readonly fail: (error: Error) => void;
}

const HEAD = Buffer.from('{"resultType":"input_required","inputRequests":{');
const COMMA = Buffer.from(',');

/**
 * A call of a modern client that runs on a legacy server. What the server asks meanwhile ends a round: the client is told what
 * is needed, the call goes on waiting upstream, and the client's next request brings the answers.
 */
export class Flight implements AbortEntry {
  /** What stands for it until its client comes back; another in each round, none before the first ends. */
  state = '';
  /** What the call is: another cannot take its place. */
  readonly what: string;
  /** Whose share what is held for it counts to. */
  readonly owner: string;
  /** What it was begun with: each round brings the same arguments. */
  readonly given: Params | undefined;
  /** How often its client came back with other arguments. */
  others = 0;
  readonly control = new Cancellation();
  /** The request that the client waits for now: what comes on the way to the answer is for it. */
  current: CallOptions | undefined;
  readonly #server: string;
  readonly #client: CallClient;
  readonly #held: HeldQuestions;
  readonly #questions = new Map<string, Question>();
  /** Bytes that count as held for it while it waits for its client. */
  heldBytes = 0;
  /** The answer or error that it ended with, once it has. */
  ended: { readonly with: unknown } | undefined;
  #outcome: Promise<unknown> | undefined;
  #onQuestion: (() => void) | undefined;
  #asked = 0;

  constructor(server: string, what: string, client: CallClient, owner: string, held: HeldBytes, given?: Params) {
    this.#held = new HeldQuestions(owner, held);
    this.#server = server;
    this.what = what;
    this.given = given;
    this.owner = owner;
    this.#client = client;
  }

  /** Sets off; `onEnd` when the server has answered or the call was given up. */
  start(run: (onRequest: RequestHandler) => Promise<unknown>, onEnd: () => void): void {
    const outcome = run((request, { signal }) => this.#ask(request, signal));
    const end = (answer: unknown): void => {
      this.ended = { with: answer };
      this.#withdraw();
      onEnd();
    };
    outcome.then(end, end);
    this.#outcome = outcome;
  }

  /** There is no room for what its server ended it with: its client is told so in its place. */
  lose(error: Error): void {
    this.#outcome = Promise.reject(error);
    this.#outcome.catch(() => undefined);
    this.ended = { with: error };
  }

  /** The request that its client waits for was given up. */
  onAbort(reason: unknown): void {
    this.control.abort(reason);
  }

  /** Answers what it can; an answer to nothing is passed over. */
  answer(responses: unknown): void {
    if (typeof responses !== 'object' || responses === null) return;
    for (const [key, { answer }] of [...this.#questions]) {
      const response = Object.hasOwn(responses, key) ? (responses as Params)[key] : undefined;
      if (typeof response !== 'object' || response === null || Array.isArray(response)) continue;
      answer(response);
    }
  }

  /** Resolves to the result, or to what is needed first, as a result of its own: a server's result may look like that. */
  async round(): Promise<{ readonly result: unknown } | { readonly needed: Uint8Array }> {
    if (this.#questions.size === 0) {
      const asked = new Promise<undefined>((resolve) => {
        this.#onQuestion = () => resolve(undefined);
      });
      const done = this.#outcome?.then((result) => ({ result }));
      const first = await Promise.race([done, asked]);
      this.#onQuestion = undefined;
      if (first !== undefined) return { result: first.result };
      // Questions that come in one piece are told together.
      await new Promise((resolve) => setImmediate(resolve));
      if (this.#questions.size === 0) return this.round();
    }
    this.state = randomUUID();
    const parts: Uint8Array[] = [HEAD];
    for (const { text } of this.#questions.values()) {
      if (parts.length > 1) parts.push(COMMA);
      parts.push(text());
    }
    parts.push(Buffer.from(`},"requestState":"${this.state}"}`));
    return { needed: Buffer.concat(parts) };
  }

  /** What was asked for it is of no use: left open, each question would keep the result for as long as its connection is up. */
  #withdraw(): void {
    const message = 'the call that this was asked for is over';
    for (const { fail } of [...this.#questions.values()]) {
      fail(new RpcError(this.#server, RPC_CODES.internalError, message));
    }
  }

  #ask(request: ServerRequest, signal: AbortSignal): Promise<unknown> {
    if (this.ended !== undefined || !canBeAsked(this.#client.capabilities, request.method)) {
      return Promise.reject(methodNotFound(this.#server, request.method));
    }
    let giveBack: () => void;
    try {
      giveBack = this.#held.hold(this.#server, request.params);
    } catch (error) {
      return Promise.reject(error);
    }
    const key = `request-${++this.#asked}`;
    return new Promise((resolve, reject) => {
      const end = (): void => {
        giveBack();
        this.#questions.delete(key);
        signal.removeEventListener('abort', onAbort);
      };
      const fail = (error: unknown): void => {
        end();
        reject(error);
      };
      const onAbort = (): void => fail(signal.reason);
      const answer = (result: unknown): void => {
        end();
        resolve(result);
      };
      this.#questions.set(key, { text: written(key, request), answer, fail });
      signal.addEventListener('abort', onAbort, { once: true });
      this.#onQuestion?.();
    });
  }
}

function written(key: string, { method, params = {} }: ServerRequest): () => Buffer {
  let text: Buffer | undefined;
  return () => {
    text ??= Buffer.from(`"${key}":{"method":${JSON.stringify(method)},"params":${exactText(params)}}`);
    return text;
  };
}
