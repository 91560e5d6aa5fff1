import type { ResultSink } from '../../../connection/channel/large/ResultSink.js';
import { inTurn } from '../../../core/time/turns.js';
import type { Rewriter } from './Rewriter.js';

const NONE: Buffer = Buffer.alloc(0);

/**
 * Passes a large result on as a rewriter changes it, once it is known how. Each piece is gone through where it is read, in the turn of its reader:
 * what that takes counts as reading, and holds back the source.
 */
export class RewritingSink implements ResultSink {
  /** Resolves when what came so far can be passed on. Never rejects. */
  readonly #ready: Promise<void>;
  readonly #sink: ResultSink;
  readonly #rewriter: Rewriter;
  /** What the rewriter threw: nothing goes on from there. */
  #failure: { readonly error: unknown } | undefined;
  /** What came before. */
  #waiting: Buffer[] | undefined = [];

  /** `prepared`: from then on strings can be changed. Its failure is no reason to lose the result. */
  constructor(sink: ResultSink, rewriter: Rewriter, prepared?: Promise<unknown>, onRoom: () => void = () => undefined) {
    this.#sink = sink;
    this.#rewriter = rewriter;
    if (prepared === undefined) {
      this.#waiting = undefined;
      this.#ready = Promise.resolve();
      return;
    }
    const begin = async (): Promise<void> => {
      let room = true;
      for (let piece = this.#waiting?.shift(); piece !== undefined; piece = this.#waiting?.shift()) {
        const next = piece;
        // A result may have come whole meanwhile: others do not wait for all of it.
        room = await inTurn(() => this.#pass(next));
      }
      this.#waiting = undefined;
      if (room) onRoom();
    };
    this.#ready = prepared.then(begin, begin);
  }

  write(piece: Buffer): boolean {
    if (this.#waiting !== undefined) {
      this.#waiting.push(piece);
      return false;
    }
    return this.#pass(piece);
  }

  /** Resolves when all that came has been passed on. Rejects with what the rewriter threw: what went on is not the result. */
  async passedOn(): Promise<void> {
    await this.#ready;
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /** In one write, however many strings stand in it: each costs the response of its reader more than a copy of the piece. */
  #pass(piece: Buffer): boolean {
    const told = this.#changed(piece);
    return told.length === 0 || this.#sink.write(told);
  }

  #changed(piece: Buffer): Buffer {
    if (this.#failure !== undefined) return NONE;
    try {
      return this.#rewriter.push(piece);
    } catch (error) {
      this.#failure = { error };
      return NONE;
    }
  }
}
