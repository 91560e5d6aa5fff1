/** What the instructions of one server take at most where they stand beside those of others, and all together, in bytes as JSON. */
const MAX_OF_ONE_BYTES = 64 * 1_024;
const MAX_BYTES = 256 * 1_024;

/** Stands for what was cut. */
const CUT = '\n\n[cut here]';
/** Characters that are looked at in one step. */
const STEP = 1_024;

export interface Instructions {
  readonly server: string;
  readonly text: string;
}

/**
 * The instructions of several servers in one text, of bounded size: where all of them together are too long, those that say
 * little keep it, and the longest are cut. `onCut` is told whose are.
 */
export function joinedInstructions(all: readonly Instructions[], onCut: (server: string) => void): string {
  const sizes = all.map(({ text }) => (text.length > MAX_OF_ONE_BYTES ? MAX_OF_ONE_BYTES : written(text)));
  const shares = sharesOf(
    sizes.map((size) => Math.min(size, MAX_OF_ONE_BYTES)),
    MAX_BYTES,
  );
  const texts = all.map(({ server, text }, at) => {
    const share = shares[at] as number;
    const fits = text.length <= share && (sizes[at] as number) <= share;
    if (!fits) onCut(server);
    return `# ${server}\n\n${fits ? text : cut(text, share)}`;
  });
  return texts.join('\n\n');
}

/** How much of `max` each gets: what it needs, or as much as others that get less than they need. */
function sharesOf(sizes: readonly number[], max: number): readonly number[] {
  const shares: number[] = [];
  let left = max;
  let waiting = sizes.length;
  const smallestFirst = [...sizes.entries()].sort(([, a], [, b]) => a - b);
  for (const [at, size] of smallestFirst) {
    const share = Math.min(size, Math.floor(left / waiting--));
    shares[at] = share;
    left -= share;
  }
  return shares;
}

/** The beginning of a text, with no half of a character at its end. */
function cut(text: string, maxBytes: number): string {
  let left = maxBytes - written(CUT);
  let at = 0;
  for (const step of [STEP, 1]) {
    for (; at < text.length; at += step) {
      const bytes = written(text.slice(at, at + step));
      if (bytes > left) break;
      left -= bytes;
    }
  }
  const before = text.charCodeAt(at - 1);
  return `${text.slice(0, before >= 0xd800 && before < 0xdc00 ? at - 1 : at)}${CUT}`;
}

const written = (text: string): number => Buffer.byteLength(JSON.stringify(text)) - 2;
