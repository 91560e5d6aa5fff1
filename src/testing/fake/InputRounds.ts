import type { Params } from '../../connection/protocol/messages.js';
import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import { RpcError } from '../../core/errors.js';

/**
 * What a call asks in the modern era, where servers send no requests: it is answered with its questions, and runs anew, from its start, when it
 * comes again with the replies (2026-07-28, multi round-trip requests). The state has the replies of all rounds before, by the place of their question.
 */
export class InputRounds {
  readonly #replies: ReadonlyMap<unknown, unknown>;
  readonly #questions = new Map<string, object>();
  #asks = 0;

  /** @throws RpcError when the state is none of ours */
  constructor(server: string, { requestState = '[]', inputResponses }: Params) {
    try {
      const before: (readonly [unknown, unknown])[] = JSON.parse(requestState as string);
      this.#replies = new Map([...before, ...Object.entries(inputResponses ?? {})]);
    } catch {
      throw new RpcError(server, RPC_CODES.invalidParams, 'its requestState is none of this server');
    }
  }

  /** The reply to the next question. @throws Error while there is none */
  ask(method: string, params: Params): unknown {
    const id = `ask-${++this.#asks}`;
    if (this.#replies.has(id)) return this.#replies.get(id);
    this.#questions.set(id, { method, params });
    throw new Error('the call runs anew when it comes again with the reply');
  }

  /** What the call is answered with, instead of its result, when it has asked for more than it was given. */
  get unanswered(): object | undefined {
    if (this.#questions.size === 0) return undefined;
    return {
      resultType: 'input_required',
      inputRequests: Object.fromEntries(this.#questions),
      requestState: JSON.stringify([...this.#replies]),
    };
  }
}
