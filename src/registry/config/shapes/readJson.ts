import { getNodeValue, type Node, type ParseError, parseTree, printParseErrorCode, stripComments } from 'jsonc-parser';
import { messageOf } from '../../../core/errors.js';
import { type ConfigText, linesOf, type Path, type Unreadable } from './ConfigText.js';

/** JSON, with comments and trailing commas where it has them. */
export function readJson(text: string): ConfigText | Unreadable {
  const strict = parseStrictly(text);
  const errors: ParseError[] = [];
  const tree = parseTree(text, errors, { allowTrailingComma: true });
  const [first] = errors;
  if (tree === undefined || first !== undefined) {
    const error = 'error' in strict ? strict.error : new SyntaxError('it is empty');
    return stripComments(text) === text ? strictProblem(error, text) : problem(first, text, error);
  }
  const lineAt = linesOf(text);
  const offsets = new Offsets(tree);
  return {
    root: 'root' in strict ? strict.root : contentOf(tree),
    lineOf: (path) => lineAt(offsets.of(path)),
    ...duplicatesIn(tree),
  };
}

/** @throws what is no error of syntax */
function parseStrictly(text: string): { readonly root: unknown } | { readonly error: SyntaxError } {
  try {
    return { root: JSON.parse(text) };
  } catch (error) {
    if (error instanceof SyntaxError) return { error };
    throw error;
  }
}

/** As `JSON.parse` makes it: a key `__proto__` is a key like any other. */
function contentOf(node: Node): unknown {
  if (node.type === 'array') return (node.children ?? []).map(contentOf);
  if (node.type !== 'object') return getNodeValue(node);
  return Object.fromEntries(
    (node.children ?? []).map(({ children }) => [String(children?.[0]?.value), contentOf(children?.[1] as Node)]),
  );
}

/** Where values stand in the text. The keys of an object are looked through once, however many are asked for. */
class Offsets {
  readonly #tree: Node;
  readonly #properties = new Map<Node, ReadonlyMap<unknown, Node>>();

  constructor(tree: Node) {
    this.#tree = tree;
  }

  /** Of the key that leads to a value, or of the value in an array; of the nearest one around what is not there. */
  of(path: Path): number {
    let node = this.#tree;
    let { offset } = node;
    for (const key of path) {
      const next = node.type === 'array' ? node.children?.[Number(key)] : this.#propertiesOf(node).get(String(key));
      if (next === undefined) break;
      offset = next.offset;
      node = next.type === 'property' ? (next.children?.[1] ?? next) : next;
    }
    return offset;
  }

  /** Of two with one name the last. */
  #propertiesOf(node: Node): ReadonlyMap<unknown, Node> {
    const known = this.#properties.get(node);
    if (known !== undefined) return known;
    const found = new Map((node.children ?? []).map((child) => [child.children?.[0]?.value as unknown, child]));
    this.#properties.set(node, found);
    return found;
  }
}

/** Keys that stand twice and are named. */
const MAX_DUPLICATES = 100;

function duplicatesIn(tree: Node): Pick<ConfigText, 'duplicates' | 'moreDuplicates'> {
  const duplicates: Path[] = [];
  let moreDuplicates = 0;
  const path: (string | number)[] = [];
  const look = (node: Node): void => {
    const seen = new Set<string>();
    for (const [index, child] of (node.children ?? []).entries()) {
      const [key, value] = child.type === 'property' ? (child.children ?? []) : [undefined, child];
      const name = key === undefined ? index : String(key.value);
      path.push(name);
      if (typeof name === 'string' && seen.has(name)) {
        if (duplicates.length < MAX_DUPLICATES) duplicates.push([...path]);
        else moreDuplicates++;
      } else if (typeof name === 'string') seen.add(name);
      if (value?.children !== undefined) look(value);
      path.pop();
    }
  };
  look(tree);
  return { duplicates, moreDuplicates };
}

function problem(error: ParseError | undefined, text: string, cause: unknown): Unreadable {
  const offset = error?.offset ?? text.length;
  const words = error === undefined ? 'value expected' : printParseErrorCode(error.error);
  const said = words.replace(/(?<=[a-z])(?=[A-Z])/g, ' ').toLowerCase();
  return { why: `not JSON: ${said} (${placeOf(text, offset)})`, cause };
}

/** What the parser said, on one line, with line and column but without the piece of the file that it quotes. */
function strictProblem(error: unknown, text: string): Unreadable {
  const message = messageOf(error);
  const position = /at position (\d+)/.exec(message)?.[1];
  const bare = message
    .replace(/\s*\(line \d+ column \d+\)/, '')
    .replace(/ (in JSON )?at position \d+/, '')
    .replace(/, (\.\.\.)?"[\s\S]*$/, '')
    .replace(/\s+/g, ' ');
  const place = position === undefined ? '' : ` (${placeOf(text, Number(position))})`;
  return { why: `not JSON: ${bare}${place}`, cause: error };
}

function placeOf(text: string, offset: number): string {
  const before = text.slice(0, offset).split('\n');
  return `line ${before.length}, column ${(before.at(-1)?.length ?? 0) + 1}`;
}
