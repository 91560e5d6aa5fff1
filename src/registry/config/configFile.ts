import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { messageOf, show } from '../../core/errors.js';
import { ConfigError, describePlace } from './ConfigError.js';
import type { Variables } from './expandVariables.js';
import { parseEntry } from './parseEntry.js';
import type { ServerConfig } from './ServerConfig.js';

export interface ParseOptions {
  /** How the file is named in errors; a relative `cwd` counts from its folder. @defaultValue 'config' */
  readonly file?: string;
  /** Where `${VAR}` is looked up. @defaultValue process.env */
  readonly variables?: Variables;
}

/** What a config file says. One bad server never hides the others. */
export interface ParsedConfig {
  /** The good servers, in the order of the file. */
  readonly servers: readonly ServerConfig[];
  /** One for each place that is wrong. A server that has one is not among `servers`. */
  readonly problems: readonly ConfigError[];
  /** One line for each field that is not used here. */
  readonly warnings: readonly string[];
  /** The entries of `servers` as they stood in the file, by name: references unexpanded, unknown fields kept. */
  readonly entries: ReadonlyMap<string, unknown>;
}

/** Reads and parses a config file. Never rejects for what is in it or for a file that cannot be read: see `problems`. */
export async function readConfigFile(file: string, options: Omit<ParseOptions, 'file'> = {}): Promise<ParsedConfig> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    const why = (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'no such file' : messageOf(error);
    return failed(new ConfigError({ file }, `cannot be read: ${why}`, undefined, error));
  }
  return parseConfig(text, { ...options, file });
}

/**
 * Parses the config shape that MCP programs share: `{ "mcpServers": { name: { command, args, env, cwd } } }`, or `url`
 * and `headers` for a remote server, besides every setting of `ServerConfig`. `${VAR}` and `${VAR:-default}` are expanded in
 * `command`, `args`, `env`, `cwd`, `url` and `headers`. A relative `cwd` counts from the file's folder.
 */
export function parseConfig(text: string, options: ParseOptions = {}): ParsedConfig {
  const file = options.file ?? 'config';
  let root: unknown;
  try {
    root = JSON.parse(text.replace(/^\uFEFF/, ''));
  } catch (error) {
    return failed(new ConfigError({ file }, `not JSON: ${syntaxOf(error, text)}`, undefined, error));
  }
  if (!isObject(root))
    return failed(new ConfigError({ file }, `expected an object with mcpServers, got ${show(root)}`));
  const table = root['mcpServers'];
  if (!isObject(table)) {
    const got = table === undefined ? 'it is missing' : `got ${show(table)}`;
    return failed(new ConfigError({ file, field: 'mcpServers' }, `expected an object of servers by name, ${got}`));
  }
  const servers: ServerConfig[] = [];
  const problems: ConfigError[] = [];
  const entries = new Map<string, unknown>();
  const warnings = Object.keys(root)
    .filter((key) => key !== 'mcpServers' && key !== '$schema')
    .map((field) => `${describePlace({ file, field })}: not used here`);
  const folder = dirname(resolve(file));
  for (const [name, entry] of Object.entries(table)) {
    const parsed = parseEntry(name, entry, { file, folder, variables: options.variables ?? process.env });
    warnings.push(...parsed.warnings);
    problems.push(...parsed.problems);
    if (parsed.config === undefined) continue;
    servers.push(parsed.config);
    entries.set(name, entry);
  }
  return { servers, problems, warnings, entries };
}

function failed(problem: ConfigError): ParsedConfig {
  return { servers: [], problems: [problem], warnings: [], entries: new Map() };
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** What the parser said, on one line, with line and column but without the piece of the file it quotes. */
function syntaxOf(error: unknown, text: string): string {
  const message = messageOf(error);
  const position = /at position (\d+)/.exec(message)?.[1];
  const bare = message
    .replace(/\s*\(line \d+ column \d+\)/, '')
    .replace(/ (in JSON )?at position \d+/, '')
    .replace(/, (\.\.\.)?"[\s\S]*$/, '')
    .replace(/\s+/g, ' ');
  if (position === undefined) return bare;
  const before = text.slice(0, Number(position)).split('\n');
  return `${bare} (line ${before.length}, column ${(before.at(-1)?.length ?? 0) + 1})`;
}
