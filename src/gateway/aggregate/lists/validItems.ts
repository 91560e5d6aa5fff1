import { isObject } from '../../../connection/protocol/objectOf.js';
import { show } from '../../../core/errors.js';
import { inSlices } from '../../../core/time/inSlices.js';
import type { ListItems, ListKind } from '../../../pool/McpPool.js';
import { MAX_URI_LENGTH } from '../../rpc/limits.js';

/** Bounds of one item of a list: values in it and levels of nesting. */
export const ITEM_BOUNDS = Object.freeze({ maxValues: 100_000, maxDepth: 128, maxNameLength: 1_024 });

export interface ValidItems<T> {
  readonly items: readonly T[];
  /** What they take in memory, about. */
  readonly bytes: number;
  /** What was left out, each with its reason. */
  readonly problems: readonly string[];
}

/** What an item of a list is known by, and how long that may be. */
const KEYS: Readonly<Record<ListKind, { readonly key: string; readonly max: number }>> = Object.freeze({
  tools: { key: 'name', max: ITEM_BOUNDS.maxNameLength },
  prompts: { key: 'name', max: ITEM_BOUNDS.maxNameLength },
  resources: { key: 'uri', max: MAX_URI_LENGTH },
  resourceTemplates: { key: 'uriTemplate', max: MAX_URI_LENGTH },
});

/**
 * The items of a list that any client can take; one bad item never takes the others with it. Left out are items that are
 * no object or have no name (resources: no URI), tools whose `inputSchema` is no object schema, descriptions and titles that are no
 * text, what is nested too deep or too large, and the second of two items of one name: a call could reach the first alone.
 * A large list is looked through in turns of the event loop.
 */
export async function validItems<K extends ListKind>(
  kind: K,
  items: readonly ListItems[K][],
): Promise<ValidItems<ListItems[K]>> {
  const { key } = KEYS[kind];
  const seen = new Set<unknown>();
  const problems: string[] = [];
  const size = { bytes: 0 };
  const valid: ListItems[K][] = [];
  let index = 0;
  await inSlices(() => {
    if (index === items.length) return true;
    const item = items[index] as ListItems[K];
    const own = (item as unknown as Readonly<Record<string, unknown>> | null)?.[key];
    const problem = problemOf(kind, item, size) ?? (seen.has(own) ? `its ${key} is there already` : undefined);
    if (problem === undefined) {
      seen.add(own);
      valid.push(item);
    } else problems.push(`${kind}[${index}]${typeof own === 'string' ? ` ${show(own)}` : ''}: ${problem}`);
    index++;
    return false;
  }, 1);
  return { items: valid, bytes: size.bytes, problems };
}

interface Size {
  bytes: number;
}

/** What a value takes beside its text. */
const VALUE_BYTES = 48;

function problemOf(kind: ListKind, item: unknown, size: Size): string | undefined {
  if (!isObject(item)) return 'it is no object';
  const { key, max } = KEYS[kind];
  const { [key]: own, name, description, title, inputSchema } = item;
  if (typeof own !== 'string' || own === '') return `it has no ${key}`;
  if (own.length > max) return `its ${key} is longer than ${max}`;
  if (typeof name !== 'string') return 'it has no name';
  if (description !== undefined && typeof description !== 'string') return 'its description is no text';
  if (title !== undefined && typeof title !== 'string') return 'its title is no text';
  if (kind === 'tools' && (!isObject(inputSchema) || inputSchema['type'] !== 'object')) {
    return 'its inputSchema is no schema of an object';
  }
  return sizeProblem(item, size);
}

/** Walks without recursion: what is being looked for is what would overflow the stack. */
function sizeProblem(item: object, size: Size): string | undefined {
  const pending: { readonly value: object; readonly depth: number }[] = [{ value: item, depth: 1 }];
  let values = 0;
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    if (next.depth > ITEM_BOUNDS.maxDepth) return `it is nested deeper than ${ITEM_BOUNDS.maxDepth} levels`;
    for (const each of Object.values(next.value) as unknown[]) {
      if (++values > ITEM_BOUNDS.maxValues) return `it holds more than ${ITEM_BOUNDS.maxValues} values`;
      size.bytes += VALUE_BYTES + (typeof each === 'string' ? 2 * each.length : 0);
      if (typeof each === 'object' && each !== null) pending.push({ value: each, depth: next.depth + 1 });
    }
  }
  return undefined;
}
