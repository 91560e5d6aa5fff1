import { show } from '../../core/errors.js';

/** Bounds of one item of a list: values in it and levels of nesting. */
export const ITEM_BOUNDS = Object.freeze({ maxValues: 100_000, maxDepth: 128, maxNameLength: 1_024 });

export interface ValidItems<T> {
  readonly items: readonly T[];
  /** What was left out, each with its reason. */
  readonly problems: readonly string[];
}

/**
 * The items of a list that any client can take; one bad item never takes the others with it. Left out are items that are
 * no object or have no name, tools whose `inputSchema` is no object schema, descriptions and titles that are no text, what
 * is nested too deep or too large, and the second of two items of one name: a call could reach the first alone.
 */
export function validItems<T extends { readonly name: string }>(
  kind: 'tools' | 'prompts',
  items: readonly T[],
): ValidItems<T> {
  const seen = new Set<string>();
  const problems: string[] = [];
  const valid = items.filter((item, index) => {
    const problem = problemOf(kind, item) ?? (seen.has(item.name) ? 'its name is there already' : undefined);
    if (problem === undefined) seen.add(item.name);
    else problems.push(`${kind}[${index}]${nameOf(item)}: ${problem}`);
    return problem === undefined;
  });
  return { items: valid, problems };
}

function nameOf(item: unknown): string {
  const name = (item as { readonly name?: unknown } | null)?.name;
  return typeof name === 'string' ? ` ${show(name)}` : '';
}

function problemOf(kind: 'tools' | 'prompts', item: unknown): string | undefined {
  if (!isObject(item)) return 'it is no object';
  const { name, description, title, inputSchema } = item;
  if (typeof name !== 'string' || name === '') return 'it has no name';
  if (name.length > ITEM_BOUNDS.maxNameLength) return `its name is longer than ${ITEM_BOUNDS.maxNameLength}`;
  if (description !== undefined && typeof description !== 'string') return 'its description is no text';
  if (title !== undefined && typeof title !== 'string') return 'its title is no text';
  if (kind === 'tools' && (!isObject(inputSchema) || inputSchema['type'] !== 'object')) {
    return 'its inputSchema is no schema of an object';
  }
  return sizeProblem(item);
}

/** Walks without recursion: what is being looked for is what would overflow the stack. */
function sizeProblem(item: object): string | undefined {
  const pending: { readonly value: object; readonly depth: number }[] = [{ value: item, depth: 1 }];
  let values = 0;
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    if (next.depth > ITEM_BOUNDS.maxDepth) return `it is nested deeper than ${ITEM_BOUNDS.maxDepth} levels`;
    for (const each of Object.values(next.value) as unknown[]) {
      if (++values > ITEM_BOUNDS.maxValues) return `it holds more than ${ITEM_BOUNDS.maxValues} values`;
      if (typeof each === 'object' && each !== null) pending.push({ value: each, depth: next.depth + 1 });
    }
  }
  return undefined;
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
