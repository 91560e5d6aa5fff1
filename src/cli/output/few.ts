import { cut } from './plain.js';

/** Lines of one kind that are shown, and characters of one: what is wrong everywhere fills neither terminal nor memory. */
const MAX_LINES = 20;
const MAX_CHARS = 2_000;

/** The first of them as lines, each cut where it is long, and how many more there are. `line` is asked for those alone. */
export function few<T>(all: Iterable<T>, line: (each: T) => string, maxLines = MAX_LINES): string[] {
  const lines: string[] = [];
  let more = 0;
  for (const each of all) {
    if (lines.length < maxLines) lines.push(cut(line(each), MAX_CHARS));
    else more++;
  }
  return more === 0 ? lines : [...lines, `${more} more of the kind`];
}
