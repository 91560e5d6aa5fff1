import { RPC_CODES } from '../../connection/protocol/rpcCodes.js';
import { RpcError } from '../../core/errors.js';
import type { HeldBytes } from './HeldBytes.js';

/** Bytes, as held, of the questions that wait for one client: of a session, or of a call between two rounds. */
const MAX_ASKED_BYTES = 32 * 1_024 * 1_024;
/** What a value takes beside its text: a member's place, a header. */
const VALUE_BYTES = 64;

/** Questions of servers that wait for their client: their bytes count among those that are held for all. */
export class HeldQuestions {
  readonly #held: HeldBytes;
  #bytes = 0;

  constructor(held: HeldBytes) {
    this.#held = held;
  }

  /** Holds the params of one more until what it gives back is called. @throws RpcError when there is no room, or no JSON of them */
  hold(server: string, params: unknown): () => void {
    if (!isWritable(params)) throw new RpcError(server, RPC_CODES.internalError, 'the request is nested too deep');
    const bytes = bytesOf(params);
    if (this.#bytes + bytes > MAX_ASKED_BYTES || !this.#held.take(bytes)) {
      throw new RpcError(server, RPC_CODES.internalError, 'too much waits for the answers of clients already');
    }
    this.#bytes += bytes;
    let over = false;
    return () => {
      if (over) return;
      over = true;
      this.#bytes -= bytes;
      this.#held.giveBack(bytes);
    };
  }
}

/** Whether it can be written as JSON, which is not so when it is nested too deep. */
function isWritable(params: unknown): boolean {
  try {
    JSON.stringify(params);
    return true;
  } catch {
    return false;
  }
}

/** What a parsed value takes in memory, about. */
function bytesOf(value: unknown): number {
  let bytes = 0;
  for (const pending = [value]; pending.length > 0; ) {
    const each = pending.pop();
    bytes += VALUE_BYTES;
    if (typeof each === 'string') bytes += 2 * each.length;
    if (typeof each !== 'object' || each === null) continue;
    for (const [key, inner] of Object.entries(each)) {
      if (!Array.isArray(each)) bytes += 2 * key.length;
      pending.push(inner);
    }
  }
  return bytes;
}
