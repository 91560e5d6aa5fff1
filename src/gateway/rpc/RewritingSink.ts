import type { ResultSink } from '../../connection/channel/large/ResultSink.js';
import type { StringRewriter } from './StringRewriter.js';

/** Passes a large result on with other strings in some places, once it is known what those are. */
export class RewritingSink implements ResultSink {
  /** Resolves when what came so far has been passed on. Never rejects. */
  readonly ready: Promise<void>;
  readonly #sink: ResultSink;
  readonly #rewriter: StringRewriter;
  /** What came before. */
  #waiting: Buffer[] | undefined = [];

  /** `prepared`: from then on strings can be changed. Its failure is no reason to lose the result. */
  constructor(
    sink: ResultSink,
    rewriter: StringRewriter,
    prepared?: Promise<unknown>,
    onRoom: () => void = () => undefined,
  ) {
    this.#sink = sink;
    this.#rewriter = rewriter;
    if (prepared === undefined) {
      this.#waiting = undefined;
      this.ready = Promise.resolve();
      return;
    }
    const begin = (): void => {
      const waiting = this.#waiting ?? [];
      this.#waiting = undefined;
      let room = true;
      for (const piece of waiting) room = this.write(piece);
      if (room) onRoom();
    };
    this.ready = prepared.then(begin, begin);
  }

  write(piece: Buffer): boolean {
    if (this.#waiting !== undefined) {
      this.#waiting.push(piece);
      return false;
    }
    let room = true;
    for (const part of this.#rewriter.push(piece)) room = this.#sink.write(part);
    return room;
  }
}
