const NONE: Buffer = Buffer.alloc(0);
/** A shorter span is copied byte by byte: a call into native code costs more. */
const SHORT_BYTES = 32;

/** Collects what goes on of a piece, and what is put in between. Spans that stand side by side are one, and nothing is copied of a piece that goes on as it is. */
export class Spans {
  #sources: Buffer[] = [];
  #froms: number[] = [];
  #ends: number[] = [];
  #bytes = 0;

  pass(source: Buffer, from: number, end: number): void {
    if (from >= end) return;
    this.#bytes += end - from;
    const last = this.#sources.length - 1;
    if (last >= 0 && this.#ends[last] === from && this.#sources[last] === source) {
      this.#ends[last] = end;
      return;
    }
    this.#sources.push(source);
    this.#froms.push(from);
    this.#ends.push(end);
  }

  add(bytes: Buffer): void {
    this.pass(bytes, 0, bytes.length);
  }

  /** All of it, in one; it is empty afterwards. */
  take(): Buffer {
    const sources = this.#sources;
    const [source] = sources;
    if (source === undefined) return NONE;
    const froms = this.#froms;
    const ends = this.#ends;
    const out = sources.length === 1 ? source.subarray(froms[0], ends[0]) : Buffer.allocUnsafe(this.#bytes);
    if (sources.length > 1) join(sources, froms, ends, out);
    this.#sources = [];
    this.#froms = [];
    this.#ends = [];
    this.#bytes = 0;
    return out;
  }
}

function join(sources: readonly Buffer[], froms: readonly number[], ends: readonly number[], out: Buffer): void {
  let to = 0;
  for (let each = 0; each < sources.length; each++) {
    const source = sources[each] as Buffer;
    const from = froms[each] as number;
    const end = ends[each] as number;
    if (end - from > SHORT_BYTES) to += source.copy(out, to, from, end);
    else for (let at = from; at < end; at++) out[to++] = source[at] as number;
  }
}
