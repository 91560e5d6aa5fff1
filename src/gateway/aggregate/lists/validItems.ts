import { isObject } from '../../../connection/protocol/objectOf.js';
import { show } from '../../../core/errors.js';
import { inSlices } from '../../../core/time/inSlices.js';
import type { ListItems, ListKind } from '../../../pool/McpPool.js';
import { MAX_URI_LENGTH } from '../../rpc/limits.js';
import { ITEM_TYPES } from '../memberTypes.js';
import { withApp } from '../uris/appUris.js';
import { type ListIndex, NO_INDEX } from '../uris/ListIndex.js';
import { UriTemplates } from '../uris/uriTemplates.js';

/** Bounds of one item of a list: values in it and levels of nesting. */
export const ITEM_BOUNDS = Object.freeze({ maxValues: 100_000, maxDepth: 128, maxNameLength: 1_024 });

export interface ValidItems<T> {
  readonly items: readonly T[];
  readonly index: ListIndex;
  /** What they take in memory, about. */
  readonly bytes: number;
  /** What was left out, each with its reason: items, and members of items. */
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
 * no object or have no name (resources: no URI), tools whose `inputSchema` is no object schema, what is nested too deep or too large, and
 * the second of two items of one name: a call could reach the first alone. Of what clients may go without (annotations, icons,
 * descriptions ...) only the odd member is left out. A large list is looked through in turns of the event loop.
 */
export async function validItems<K extends ListKind>(
  kind: K,
  items: readonly ListItems[K][],
): Promise<ValidItems<ListItems[K]>> {
  const { key } = KEYS[kind];
  const seen = new Set<string>();
  const apps = new Set<string>();
  const templates = kind === 'resourceTemplates' ? new UriTemplates() : undefined;
  const problems: string[] = [];
  const size = { bytes: 0 };
  const valid: ListItems[K][] = [];
  const odd = new Set<string>();
  let index = 0;
  await inSlices(() => {
    if (index === items.length) return true;
    const item = items[index] as ListItems[K];
    const own = (item as unknown as Readonly<Record<string, string>> | null)?.[key] as string;
    const problem = problemOf(kind, item, size) ?? (seen.has(own) ? `its ${key} is there already` : undefined);
    const taken = problem === undefined ? (ITEM_TYPES[kind](item, 'its', odd) as ListItems[K] | undefined) : undefined;
    if (taken !== undefined) {
      seen.add(own);
      templates?.add(own);
      if (kind === 'tools') {
        withApp(taken as ListItems['tools'], (uri) => {
          apps.add(uri);
          return uri;
        });
      }
      valid.push(taken);
    }
    if (problem !== undefined || odd.size > 0) {
      const why = problem ?? (taken === undefined ? 'its inputSchema is no schema of an object' : membersIn(odd));
      problems.push(`${kind}[${index}]${typeof own === 'string' ? ` ${show(own)}` : ''}: ${why}`);
      odd.clear();
    }
    index++;
    return false;
  }, 1);
  const uris = kind === 'resources' || kind === 'resourceTemplates' ? seen : NO_INDEX.uris;
  return { items: valid, index: { uris, templates, apps }, bytes: size.bytes, problems };
}

/** The paths that `ITEM_TYPES` tells, in words. */
const membersIn = (odd: ReadonlySet<string>): string =>
  `its ${[...odd].map((path) => path.slice('its.'.length)).join(', ')}: not of a type that clients take`;

interface Size {
  bytes: number;
}

/** What a value takes beside its text. */
const VALUE_BYTES = 48;

function problemOf(kind: ListKind, item: unknown, size: Size): string | undefined {
  if (!isObject(item)) return 'it is no object';
  const { key, max } = KEYS[kind];
  const { [key]: own, name } = item;
  if (typeof own !== 'string' || own === '') return `it has no ${key}`;
  if (own.length > max) return `its ${key} is longer than ${max}`;
  if (typeof name !== 'string') return 'it has no name';
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
      // JSON has numbers that are too large for one, and clients refuse them.
      if (each === Infinity || each === -Infinity) return 'it holds a number that is too large';
      size.bytes += VALUE_BYTES + (typeof each === 'string' ? 2 * each.length : 0);
      if (typeof each === 'object' && each !== null) pending.push({ value: each, depth: next.depth + 1 });
    }
  }
  return undefined;
}
