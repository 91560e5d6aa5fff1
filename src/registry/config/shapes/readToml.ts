import { parse, TomlError } from 'smol-toml';
import type { ConfigText, Path, Unreadable } from './ConfigText.js';

/** TOML, as Codex keeps its config in. */
export function readToml(text: string): ConfigText | Unreadable {
  try {
    const root = parse(text);
    const lines = text.split('\n');
    return { root, lineOf: (path) => lineOf(lines, path), duplicates: [] };
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const [first = ''] = error.message.split('\n');
    const why = first.replace(/^Invalid TOML document: /, '').replace(/\s+/g, ' ');
    return { why: `not TOML: ${why} (line ${error.line}, column ${error.column})`, cause: error };
  }
}

const HEADER = /^\s*\[\[?([^\]]+)\]/;
const KEY = /^\s*((?:[\w-]+|"[^"]*"|'[^']*'|\s*\.\s*)+?)\s*=/;

/** The parser does not tell where a value stood: the line whose table and key lead deepest along the path. */
function lineOf(lines: readonly string[], path: Path): number | undefined {
  let table: readonly string[] = [];
  let best: { readonly line: number; readonly depth: number } | undefined;
  for (const [index, line] of lines.entries()) {
    const header = HEADER.exec(line)?.[1];
    if (header !== undefined) table = keysOf(header);
    const key = header === undefined ? KEY.exec(line)?.[1] : '';
    if (key === undefined) continue;
    const at = [...table, ...keysOf(key)];
    const depth = at.length;
    const leads = depth <= path.length && at.every((each, i) => each === String(path[i]));
    if (leads && depth > (best?.depth ?? 0)) best = { line: index + 1, depth };
  }
  return best?.line;
}

function keysOf(dotted: string): string[] {
  return [...dotted.matchAll(/"([^"]*)"|'([^']*)'|([\w-]+)/g)].map(([, a, b, c]) => a ?? b ?? c ?? '');
}
