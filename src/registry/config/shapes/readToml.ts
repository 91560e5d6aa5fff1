import { parse, TomlError } from 'smol-toml';
import type { ConfigText, Path, Unreadable } from './ConfigText.js';

/** TOML, as Codex keeps its config in. */
export function readToml(text: string): ConfigText | Unreadable {
  try {
    const root = parse(text);
    let lines: ReadonlyMap<string, number> | undefined;
    const lineOf = (path: Path): number | undefined => {
      lines ??= linesByPath(text);
      return lineIn(lines, path.map(String));
    };
    return { root, lineOf, duplicates: [], moreDuplicates: 0 };
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const [first = ''] = error.message.split('\n');
    const why = first.replace(/^Invalid TOML document: /, '').replace(/\s+/g, ' ');
    return { why: `not TOML: ${why} (line ${error.line}, column ${error.column})`, cause: error };
  }
}

const HEADER = /^\s*\[\[?([^\]]+)\]/;
const PART = String.raw`(?:[\w-]+|"[^"]*"|'[^']*')`;
const KEY = new RegExp(String.raw`^\s*(${PART}(?:\s*\.\s*${PART})*)\s*=`);
/** A text of several lines begins. */
const OPENED = /^\s*("""|''')(?!.*\1)/;

/** The parser does not tell where a value stood: each table and key that the lines show, and the first line of it. */
function linesByPath(text: string): ReadonlyMap<string, number> {
  const found = new Map<string, number>();
  let table: readonly string[] = [];
  let open: string | undefined;
  for (const [index, line] of text.split('\n').entries()) {
    if (open !== undefined) {
      if (line.includes(open)) open = undefined;
      continue;
    }
    const header = HEADER.exec(line)?.[1];
    if (header !== undefined) table = keysOf(header);
    const [begun = '', key] = header === undefined ? (KEY.exec(line) ?? []) : ['', ''];
    if (key === undefined) continue;
    open = OPENED.exec(line.slice(begun.length))?.[1];
    const path = pathText([...table, ...keysOf(key)]);
    if (!found.has(path)) found.set(path, index + 1);
  }
  return found;
}

/** The line whose table and key lead deepest along the path. */
function lineIn(lines: ReadonlyMap<string, number>, path: readonly string[]): number | undefined {
  for (let depth = path.length; depth > 0; depth--) {
    const line = lines.get(pathText(path.slice(0, depth)));
    if (line !== undefined) return line;
  }
  return undefined;
}

const pathText = (path: readonly string[]): string => JSON.stringify(path);

function keysOf(dotted: string): string[] {
  return [...dotted.matchAll(/"([^"]*)"|'([^']*)'|([\w-]+)/g)].map(([, a, b, c]) => a ?? b ?? c ?? '');
}
