import { createHash } from 'node:crypto';
import { inSlices } from '../core/time/inSlices.js';
import { ParsingCost } from './channel/codec/parsingCost.js';

/** What the items of a page of a list hold. */
export interface ItemsWeight {
  /** Those that can be written: not what is nested too deeply for that. */
  readonly items: readonly unknown[];
  /** Pages of one print are the same. */
  readonly print: string;
  readonly bytes: number;
  /** What it costs to be parsed, in the units of `costOf`. */
  readonly cost: number;
}

/** So much text is looked at between two looks at the clock. */
const STEP_CHARS = 64 * 1_024;

/**
 * Looks through the items of a page, a large one in turns of the event loop, and stops at what is too much: then that is more than its bound, and
 * the rest is not right.
 */
export async function weighItems(
  items: readonly unknown[],
  { maxBytes, maxCost }: { readonly maxBytes: number; readonly maxCost: number },
): Promise<ItemsWeight> {
  const hash = createHash('sha1');
  const parsing = new ParsingCost();
  let bytes = 0;
  let cost = 0;
  let at = 0;
  const written: unknown[] = [];
  await inSlices(() => {
    let text = at === 0 ? '[' : '';
    while (at < items.length && text.length < STEP_CHARS) {
      const item = items[at];
      const own = textOf(item);
      text += `${at === 0 ? '' : ','}${own ?? 'null'}`;
      at++;
      // To find that out takes as long as much text does.
      if (own === undefined) break;
      written.push(item);
    }
    if (at === items.length) text += ']';
    hash.update(text);
    bytes += Buffer.byteLength(text);
    cost += parsing.of(text, maxCost - cost);
    return at === items.length || bytes > maxBytes || cost > maxCost;
  }, 1);
  return { items: written, print: hash.digest('base64'), bytes, cost };
}

/** An item as JSON; undefined when it is nested too deeply for it. */
function textOf(item: unknown): string | undefined {
  try {
    return JSON.stringify(item) ?? 'null';
  } catch {
    return undefined;
  }
}
