import type { OnLarge } from '../../../connection/channel/large/ResultSink.js';
import type { Rewriter } from './Rewriter.js';
import { RewritingSink } from './RewritingSink.js';

/** The way of a call's result when it is large and comes in pieces: through a rewriter, to where the call takes it. */
export class InPieces {
  /** For the call; undefined when its result is to come whole. */
  readonly onLarge: OnLarge | undefined;
  #taken: RewritingSink | undefined;

  /** `rewriter` is made when it is needed; `prepare`: from when on it can be used. */
  constructor(onLarge: OnLarge | undefined, rewriter: () => Rewriter, prepare?: () => Promise<unknown>) {
    if (onLarge === undefined) return;
    this.onLarge = (onRoom) => {
      const sink = onLarge(onRoom);
      this.#taken = sink && new RewritingSink(sink, rewriter(), prepare?.(), onRoom);
      return this.#taken;
    };
  }

  /** Once the call is answered: until all of a result in pieces has been passed on, undefined when none was. Rejects with what the rewriter threw. */
  passedOn(): Promise<void> | undefined {
    return this.#taken?.passedOn();
  }
}
