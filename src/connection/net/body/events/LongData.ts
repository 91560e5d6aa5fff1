import type { NoRoomError } from '../IncomingBytes.js';
import { WholeBody } from '../WholeBody.js';
import { DATA } from './eventData.js';

const SPACE = 0x20;
const NEWLINE = 0x0a;
const LINE_END = Buffer.from('\n');
const NONE: Buffer = Buffer.alloc(0);
/** Data behind a byte order mark, or none. */
const OTHER_DATA = /^(?:\xef\xbb\xbfdata:|data$)/;

/** The data of one event, as bytes: the lines of it that follow each other, as they come. */
export class LongData extends WholeBody {
  /** What follows may belong to it. */
  open = true;
  #inLine = true;
  /** A line end, and what may begin another line. */
  #edge = NONE;

  /** Takes what belongs to it of what follows, whose line ends are line feeds; the rest, from the end of its last line on, and an error where there is no room for it. */
  pushLines(chunk: Buffer): { readonly rest: Buffer; readonly full: NoRoomError | undefined } {
    let bytes = this.#edge.length === 0 ? chunk : Buffer.concat([this.#edge, chunk]);
    this.#edge = NONE;
    const parts: Buffer[] = [];
    while (bytes.length > 0) {
      if (this.#inLine) {
        const end = bytes.indexOf(NEWLINE);
        this.#inLine = end < 0;
        parts.push(end < 0 ? bytes : bytes.subarray(0, end));
        bytes = end < 0 ? NONE : bytes.subarray(end);
        continue;
      }
      const next = bytes.toString('latin1', 1, 1 + DATA.length);
      // Behind its colon may stand a space.
      if (bytes.length <= 1 + DATA.length && DATA.startsWith(next)) {
        this.#edge = Buffer.from(bytes);
        bytes = NONE;
      } else if (next === DATA) {
        parts.push(LINE_END);
        bytes = bytes.subarray(bytes[1 + DATA.length] === SPACE ? 2 + DATA.length : 1 + DATA.length);
        this.#inLine = true;
      } else {
        this.open = false;
        break;
      }
    }
    const full =
      parts.length === 0 ? undefined : this.push(parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts));
    return { rest: bytes, full };
  }
}

/** An event that stands open, whose data goes on. */
interface SplitEvent {
  readonly data: Buffer;
  /** Other lines. */
  readonly beside: Buffer;
  /** From the end of the last line of that data on: what may be another. */
  readonly rest: Buffer;
}

/** What its data is so far, and what stands beside it; undefined where data may stand in lines that are written otherwise, or another line stands open. */
export function splitData(bytes: Buffer): SplitEvent | undefined {
  const lines = bytes.toString('latin1').split('\n');
  const last = lines.pop() ?? '';
  const isData = (line: string): boolean => line.startsWith(DATA);
  const whole = lines.filter(isData);
  const beside = lines.filter((line) => !isData(line));
  if (beside.some((line) => OTHER_DATA.test(line))) return undefined;
  const mayBeData = isData(last) || DATA.startsWith(last);
  const isFirst = whole.length === 0;
  if (isFirst ? !isData(last) || last === DATA : !mayBeData) return undefined;
  const data = (isFirst ? [last] : whole).map((line) =>
    line.slice(line[DATA.length] === ' ' ? DATA.length + 1 : DATA.length),
  );
  return {
    data: Buffer.from(data.join('\n'), 'latin1'),
    beside: Buffer.from(beside.map((line) => `${line}\n`).join(''), 'latin1'),
    rest: Buffer.from(isFirst ? '' : `\n${last}`, 'latin1'),
  };
}
