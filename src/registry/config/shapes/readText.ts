import { messageOf } from '../../../core/errors.js';
import type { ConfigText, Unreadable } from './ConfigText.js';
import { readJson } from './readJson.js';
import { readToml } from './readToml.js';

/** Levels that a config may have: what reads it calls itself once for each, and TOML may have hundreds of thousands in one key. */
const MAX_LEVELS = 512;
const TOO_DEEP = 'it is nested too deep to be read';

/**
 * Reads a config's text: JSON, with comments and trailing commas where it has them, or TOML. The file's name decides; where it
 * says nothing, TOML is what does not begin like JSON and holds a table or a key.
 */
export function readText(text: string, file: string): ConfigText | Unreadable {
  const source = text.replace(/^\uFEFF/, '');
  if (/^(\0.|.\0)/s.test(source)) return { why: 'UTF-16 is read with its mark (BOM) alone: save the file as UTF-8' };
  const kind = kindOf(source, file);
  if (kind === 'yaml') {
    return { why: 'YAML is not read here: write the servers as JSON, under "mcpServers", or convert the file first' };
  }
  try {
    const read = kind === 'toml' ? readToml(source) : readJson(source);
    return 'root' in read && isDeep(read.root) ? { why: `not ${kind.toUpperCase()}: ${TOO_DEEP}` } : read;
  } catch (error) {
    const said = error instanceof RangeError ? TOO_DEEP : messageOf(error).replace(/\s+/g, ' ');
    return { why: `not ${kind.toUpperCase()}: ${said}`, cause: error };
  }
}

/** Whether a value has more levels, looked at level by level. */
function isDeep(root: unknown): boolean {
  let level = [root];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > MAX_LEVELS) return true;
    level = level.flatMap((each) => (typeof each === 'object' && each !== null ? Object.values(each) : []));
  }
  return false;
}

function kindOf(text: string, file: string): 'json' | 'toml' | 'yaml' {
  const extension = /\.([A-Za-z]+)$/.exec(file)?.[1]?.toLowerCase();
  if (extension === 'toml') return 'toml';
  if (extension === 'yaml' || extension === 'yml') return 'yaml';
  if (extension?.startsWith('json') === true) return 'json';
  return /^\s*(#|\[+\s*[\w"'])/.test(text) || /^\s*[\w-]+\s*=/.test(text) ? 'toml' : 'json';
}
