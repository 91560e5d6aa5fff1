import { dirname, resolve } from 'node:path';
import { show } from '../../core/errors.js';
import { readWhole, withoutPath } from '../../core/files/readWhole.js';
import { checkOptions, checkString, checkText, withDefaults } from '../../core/options.js';
import { ConfigError, type ConfigPlace } from './ConfigError.js';
import type { Curation, ToolRules } from './curation/Curation.js';
import { gatewaySchema } from './curation/checkCuration.js';
import { type Expansion, expandReferences, MAX_EXPANDED_CHARS, type Variables } from './expandVariables.js';
import { fingerprint } from './fingerprint.js';
import { parseEntry } from './parseEntry.js';
import type { ServerConfig } from './ServerConfig.js';
import type { Path } from './shapes/ConfigText.js';
import { Findings } from './shapes/Findings.js';
import { findServers } from './shapes/findServers.js';
import { readText } from './shapes/readText.js';
import { referencesOf } from './shapes/references.js';

export interface ParseOptions {
  /** How the file is named in errors; a relative `cwd` counts from its folder. @defaultValue 'config' */
  readonly file?: string;
  /** Where `${VAR}` is looked up. @defaultValue process.env */
  readonly variables?: Variables;
  /**
   * What `${workspaceFolder}` stands for.
   * @defaultValue the folder above `.vscode`, `.cursor` and their like, else the file's own
   */
  readonly workspaceFolder?: string;
}

/** What a config file says. One bad server never hides the others. */
export interface ParsedConfig {
  /** The good servers, in the order of the file. */
  readonly servers: readonly ServerConfig[];
  /**
   * One for each place that is wrong. A server that has one is not among `servers`. At most 1,000 of them, 20 of one server;
   * how many there are beyond is in `warnings`.
   */
  readonly problems: readonly ConfigError[];
  /** One line for each field that is not used here, at most 1,000 and how many there are beyond. */
  readonly warnings: readonly string[];
  /** Every server of the file that is not among `servers`, since something is wrong with it. */
  readonly broken: ReadonlySet<string>;
  /** The entries of `servers` by name, in the words of `mcpServers`: references unexpanded, unknown fields kept. */
  readonly entries: ReadonlyMap<string, unknown>;
  /** What clients are to see of the servers' tools: `tools` of each server, and `gateway`. */
  readonly curation: Curation;
}

/** Reads and parses a config file. Never rejects for what is in it or for a file that cannot be read: see `problems`. */
export async function readConfigFile(file: string, options: Omit<ParseOptions, 'file'> = {}): Promise<ParsedConfig> {
  checkText('file', file);
  checkParsing(withDefaults('readConfigFile', options, {}, { variables: true, workspaceFolder: true }));
  let text: string;
  try {
    text = await readWhole(file);
  } catch (error) {
    return unreadable(file, error);
  }
  return parseConfig(text, { ...options, file });
}

/** @throws OptionError */
export function checkParsing({ variables, workspaceFolder }: Omit<ParseOptions, 'file'>): void {
  if (variables !== undefined) checkOptions('variables', variables, 'an object of variables, such as process.env');
  if (workspaceFolder !== undefined) checkText('workspaceFolder', workspaceFolder);
}

/** What a file says that cannot be read. */
export function unreadable(file: string, error: unknown): ParsedConfig {
  const why = (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'no such file' : withoutPath(error);
  return failed(new ConfigError({ file }, `cannot be read: ${why}`, undefined, error));
}

/**
 * Parses a config in the shape that MCP programs share, `{ "mcpServers": { name: { command, args, env, cwd } } }`, or `url`
 * and `headers` for a remote server, besides every setting of `ServerConfig`; or in the shape of VS Code (`servers`), Zed
 * (`context_servers`), Codex (TOML), opencode (`mcp`). JSON may hold comments and trailing commas. `${VAR}` and
 * `${VAR:-default}` are expanded in `command`, `args`, `env`, `cwd`, `url` and `headers`; `~` at the beginning of `command`,
 * `cwd` and of each of `args` is the home folder. A relative `cwd` counts from the file's folder.
 */
export function parseConfig(text: string, options: ParseOptions = {}): ParsedConfig {
  return parseTable(text, options, {});
}

/** Every variable is set, as far as what keeps references as they are has to do with it. */
const ANY: Variables = new Proxy(
  {},
  {
    get: () => 'x',
    getOwnPropertyDescriptor: () => ({ value: 'x', enumerable: true, configurable: true }),
  },
);

export interface TableOptions {
  /** The place of the servers in the file, where that is known. */
  readonly table?: readonly string[] | undefined;
  /** References stay as they are: nothing is looked up, and a URL with one in it may be any. */
  readonly asWritten?: boolean;
}

/** The same of what stands at one place, or is to stand elsewhere. */
export function parseTable(
  text: string,
  options: ParseOptions,
  { table, asWritten = false }: TableOptions,
): ParsedConfig {
  const others = { variables: true, workspaceFolder: true } as const;
  const { file } = withDefaults('parseConfig', options, { file: 'config' }, others);
  checkParsing(options);
  const source = readText(checkString('text', text), checkText('file', file));
  if ('why' in source) {
    return failed(new ConfigError({ file, line: source.line }, source.why, undefined, source.cause));
  }
  const { root, lineOf, duplicates, moreDuplicates } = source;
  const found = findServers(root, table);
  if ('why' in found) return failed(new ConfigError({ file, field: found.field }, found.why));
  const servers: ServerConfig[] = [];
  const findings = new Findings(file);
  const entries = new Map<string, unknown>();
  for (const field of found.unused) findings.warn(() => ({ file, field, line: lineOf([field]) }), 'not used here');
  for (const path of duplicates) {
    const place = (): ConfigPlace => ({ file, field: path.join('.'), line: lineOf(path) });
    findings.warn(place, 'stands there twice: the last one counts');
  }
  if (moreDuplicates > 0) findings.warn(() => ({ file }), `${moreDuplicates} more fields stand there twice`);
  const folder = dirname(resolve(file));
  const variables = asWritten ? ANY : (options.variables ?? process.env);
  const references = referencesOf({
    folder,
    variables,
    inputs: found.inputs,
    workspaceFolder: options.workspaceFolder,
  });
  const room = { chars: MAX_EXPANDED_CHARS };
  const expand = (text: string, isUrl: boolean): Expansion => {
    const expanded = expandReferences(text, variables, references, room);
    const isAny = asWritten && isUrl && 'text' in expanded && text.includes('${');
    return isAny ? { text: 'https://x/x' } : expanded;
  };
  const rules: [string, ToolRules][] = [];
  for (const { name, entry, path } of found.entries) {
    const context = {
      file,
      folder,
      expand,
      opencode: found.opencode,
      findings,
      lineOf: (at: Path) => lineOf([...path, ...at]),
    };
    const parsed = parseEntry(name, entry, context);
    if (parsed.tools !== undefined) rules.push([name, parsed.tools]);
    if (parsed.config === undefined) continue;
    servers.push(parsed.config);
    entries.set(name, parsed.entry);
  }
  warnOfSame(file, servers, findings);
  const gateway = gatewaySchema.safeParse((root as Record<string, unknown>)['gateway'] ?? {});
  for (const { path, message } of gateway.error?.issues ?? []) {
    const at = ['gateway', ...path.map(String)];
    findings.problem(() => ({ file, field: at.join('.'), line: lineOf(at) }), message);
  }
  findings.end();
  const { problems, warnings, broken } = findings;
  // What the schema makes of fields left out is undefined.
  const shown = (gateway.data ?? {}) as Omit<Curation, 'servers'>;
  const curation = { ...shown, ...(rules.length > 0 && { servers: Object.fromEntries(rules) }) };
  return { servers, problems, warnings, broken, entries, curation };
}

/** Two names for one program: it would be started twice. */
function warnOfSame(file: string, servers: readonly ServerConfig[], findings: Findings): void {
  const first = new Map<string, string>();
  for (const config of servers) {
    const { name, enabled = true } = config;
    const print = fingerprint(config);
    const other = first.get(print);
    if (other === undefined) first.set(print, name);
    else if (enabled) {
      findings.warn(
        () => ({ file, server: name }),
        () => `the same as server ${show(other)}: it is started twice`,
      );
    }
  }
}

function failed(problem: ConfigError): ParsedConfig {
  return { servers: [], problems: [problem], warnings: [], broken: new Set(), entries: new Map(), curation: {} };
}
