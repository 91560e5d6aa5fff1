/** Where a value stands in a text: the keys and indices that lead to it. */
export type Path = readonly (string | number)[];

/** What a text says, and where. */
export interface ConfigText {
  readonly root: unknown;
  /** The line, from 1, of the value at `path`, or of the nearest value around it; undefined when that is not known. */
  readonly lineOf: (path: Path) => number | undefined;
  /** Keys that stand twice in one object: the last of them counts. */
  readonly duplicates: readonly Path[];
}

/** Why a text cannot be read, in one line without a piece of it. */
export interface Unreadable {
  readonly why: string;
  readonly line?: number | undefined;
  readonly cause?: unknown;
}
