import { type Edges, MessageEdges } from '../../../channel/unread/MessageEdges.js';
import { DATA, dataOf } from './eventData.js';

const NEWLINE = 0x0a;
const BLANK_LINE = Buffer.from('\n\n');
const WHOLE = /[\]}]\s*$/;

/** An event that is passed over: of its lines, whose ends are line feeds, only the edges are kept. */
export class SkippedEvent {
  /** Why, where it is not above the cap. */
  readonly why: Error | undefined;
  readonly #edges: MessageEdges;

  /** `parts`: what came of it so far. */
  constructor(parts: readonly Buffer[], why: Error | undefined) {
    this.#edges = new MessageEdges(parts);
    this.why = why;
  }

  /** Those of its data, which may begin and end within lines. */
  get data(): Edges {
    const { head, tail, bytes } = this.#edges;
    return { head: dataOf(head.toString('latin1')), tail: dataOf(DATA + tail.toString('latin1')), bytes };
  }

  /** Bytes that are kept. */
  get pending(): number {
    return this.#edges.head.length + this.#edges.tail.length;
  }

  /** It ends as a message does, though no blank line is behind it. */
  get open(): boolean {
    return WHOLE.test(this.data.tail.toString('latin1'));
  }

  /** More came; `lineStart`: a line begins with its first byte. The offset behind the event's end, 0 where that is still to come. */
  push(bytes: Buffer, lineStart: boolean): number {
    const blank = bytes.indexOf(BLANK_LINE);
    const end = lineStart && bytes[0] === NEWLINE ? 1 : blank < 0 ? 0 : blank + BLANK_LINE.length;
    this.#edges.push(end === 0 ? bytes : bytes.subarray(0, end));
    return end;
  }
}
