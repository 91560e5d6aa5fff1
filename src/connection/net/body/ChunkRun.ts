import { SCAN_BYTES } from '../../channel/large/LongMessage.js';

/** A smaller chunk costs less to read than a look at the clock. */
const SMALL_BYTES = 1_024;
const RUN_CHUNKS = 64;
/** So many chunks that are only kept cost what a small message does. */
const CHUNKS_PER_MESSAGE = 4;

/**
 * What it costs to read a body: its small chunks are counted together, with what was done between them, large ones once it is long.
 * Most bodies are one chunk, or a few large ones, and cost nothing to speak of.
 */
export class ChunkRun {
  #chunks = 0;
  #bytes = 0;
  #sinceMs = 0;

  get bytes(): number {
    return this.#bytes;
  }

  /** What they cost, in small messages. */
  get messages(): number {
    return Math.ceil(this.#chunks / CHUNKS_PER_MESSAGE);
  }

  /** One more chunk, behind so many bytes: when the reading of those that are to be counted now began; undefined: not yet. */
  add({ length }: Buffer, before: number): number | undefined {
    if (before === 0 || (length >= SMALL_BYTES && before < SCAN_BYTES)) return undefined;
    if (this.#chunks === 0) this.#sinceMs = performance.now();
    this.#bytes += length;
    return ++this.#chunks >= RUN_CHUNKS || length >= SMALL_BYTES ? this.#sinceMs : undefined;
  }

  /** They are counted: begins anew. */
  end(): void {
    this.#chunks = 0;
    this.#bytes = 0;
  }
}
