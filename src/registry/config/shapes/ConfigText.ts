/** Where a value stands in a text: the keys and indices that lead to it. */
export type Path = readonly (string | number)[];

/** What a text says, and where. */
export interface ConfigText {
  readonly root: unknown;
  /** The line, from 1, of the value at `path`, or of the nearest value around it; undefined when that is not known. */
  readonly lineOf: (path: Path) => number | undefined;
  /** Keys that stand twice in one object: the last of them counts. The first 100 of these keys. */
  readonly duplicates: readonly Path[];
  /** How many there are beyond. */
  readonly moreDuplicates: number;
}

/** Why a text cannot be read, in one line without a piece of it. */
export interface Unreadable {
  readonly why: string;
  readonly line?: number | undefined;
  readonly cause?: unknown;
}

/** The line, from 1, of each offset of a text. The lines are found once, at the first call. */
export function linesOf(text: string): (offset: number) => number {
  let starts: Uint32Array | undefined;
  return (offset) => {
    starts ??= lineStarts(text);
    let low = 0;
    let high = starts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((starts[middle] as number) <= offset) low = middle + 1;
      else high = middle;
    }
    return low;
  };
}

function lineStarts(text: string): Uint32Array {
  let count = 1;
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) count++;
  const starts = new Uint32Array(count);
  let line = 0;
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) starts[++line] = at + 1;
  return starts;
}
