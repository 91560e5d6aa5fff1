import { Shares } from '../../concurrent/Shares.js';
import { memoryWithText, textOf } from '../../connection/channel/codec/exactText.js';
import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import { RpcError } from '../../core/errors.js';
import { type HeldBytes, QUESTIONS } from '../http/HeldBytes.js';

/** Bytes, as held, of the questions that wait for one client: of a session, or of a call between two rounds. */
const MAX_ASKED_BYTES = 32 * 1_024 * 1_024;
/** What one holds beside its params. */
const QUESTION_BYTES = 2_048;

/** Questions of servers that wait for one client: their bytes count among those that are held for all. No server's leave others' no room. */
export class HeldQuestions {
  readonly #owner: string;
  readonly #held: HeldBytes;
  /** By server, from the first question on. */
  #shares: Shares | undefined;

  constructor(owner: string, held: HeldBytes) {
    this.#owner = owner;
    this.#held = held;
  }

  /** Holds the params of one more, or what a server wants back with its answers, until what it gives back is called. @throws RpcError when there is no room, or no JSON of them */
  hold(server: string, params: unknown): () => void {
    if (!isWritable(params)) throw new RpcError(server, RPC_CODES.internalError, 'the request is nested too deep');
    const bytes = memoryWithText(params) + QUESTION_BYTES;
    this.#shares ??= new Shares(MAX_ASKED_BYTES);
    const shares = this.#shares;
    if (!shares.mayTake(server, bytes) || !this.#take(server, bytes)) {
      throw new RpcError(server, RPC_CODES.internalError, 'too much waits for the answers of clients already');
    }
    shares.add(server, bytes);
    let over = false;
    return () => {
      if (over) return;
      over = true;
      shares.add(server, -bytes);
      this.#held.questions.giveBack(server, this.#owner, bytes);
      this.#held.giveBackFor(QUESTIONS, bytes);
    };
  }

  /** Holds what the client answered until what it gives back is called, once. It is the client's own share. @throws RpcError when there is no room */
  holdAnswer(server: string, answer: unknown): () => void {
    const bytes = memoryWithText(answer) + QUESTION_BYTES;
    if (!this.#held.takeFor(this.#owner, bytes)) {
      const message = 'too much is held of the answers that this client gave, and of its other requests';
      throw new RpcError(server, RPC_CODES.internalError, message);
    }
    return () => this.#held.giveBackFor(this.#owner, bytes);
  }

  #take(server: string, bytes: number): boolean {
    const { questions } = this.#held;
    if (!questions.take(server, this.#owner, bytes)) return false;
    if (this.#held.takeFor(QUESTIONS, bytes)) return true;
    questions.giveBack(server, this.#owner, bytes);
    return false;
  }
}

/** Whether it can be written as JSON, which is not so when it is nested too deep. */
function isWritable(params: unknown): boolean {
  // Its text has been looked through.
  if (textOf(params) !== undefined) return true;
  try {
    JSON.stringify(params);
    return true;
  } catch {
    return false;
  }
}
