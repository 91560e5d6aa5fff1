import { TYPES } from '../entrySchema.js';
import { isObject } from './findServers.js';
import { opencodeReferences } from './references.js';
import { isAnyUrl, transportOf } from './transports.js';

/** An entry in the words of this toolkit, whichever program's words it was written in. */
export interface NormalizedEntry {
  readonly entry: Readonly<Record<string, unknown>>;
  /** How the file calls a field, by how it is called here. */
  readonly written: ReadonlyMap<string, string>;
  readonly problems: readonly EntryNote[];
  readonly warnings: readonly EntryNote[];
}

export interface EntryNote {
  /** As the file calls it. */
  readonly field: string;
  readonly why: string;
}

/** What a field of another program is here. `value` returns undefined for what it cannot take: the check says then what was expected. */
interface Translation {
  readonly to: string;
  readonly value?: (given: unknown) => unknown;
}

const seconds = (given: unknown): unknown => (typeof given === 'number' ? given * 1_000 : given);
const reference = (variable: string): string => `\${${variable}}`;

const TRANSLATIONS: Readonly<Record<string, Translation>> = {
  // Gemini CLI, Windsurf
  httpUrl: { to: 'url' },
  serverUrl: { to: 'url' },
  // opencode, Goose
  environment: { to: 'env' },
  envs: { to: 'env' },
  cmd: { to: 'command' },
  // Cline, MCP Inspector
  transportType: { to: 'type' },
  // Codex
  http_headers: { to: 'headers' },
  env_vars: { to: 'inheritEnv' },
  startup_timeout_ms: { to: 'startTimeoutMs' },
  startup_timeout_sec: { to: 'startTimeoutMs', value: seconds },
  tool_timeout_sec: {
    to: 'timeouts',
    value: (given) => (typeof given === 'number' ? { default: given * 1_000 } : given),
  },
};

/** Sign-ins as other programs describe them. */
export const OTHER_OAUTH =
  'not used here: write "auth": { "type": "oauth" }, then run mcp-poolkit auth <server>; or give a token in headers';

/** Fields of other programs that change what a server does: leaving them out unread would surprise. */
const ADVICE: Readonly<Record<string, string>> = {
  envFile: 'not read here: put its variables into env, or name them in inheritEnv',
  timeout: 'not used here, since programs differ in its unit: set timeouts.default, in ms',
  oauth: OTHER_OAUTH,
};

/**
 * Puts an entry into the fields that are known here: `httpUrl` of Gemini, `environment` and a `command` that is an array of
 * opencode, `bearer_token_env_var` of Codex, and so on. What is not known stays as it is. `opencode`: the entry stands in its table.
 */
export function normalizeEntry(given: Readonly<Record<string, unknown>>, opencode = false): NormalizedEntry {
  const entry: Record<string, unknown> = {};
  const written = new Map<string, string>();
  const problems: EntryNote[] = [];
  const warnings: EntryNote[] = [];
  for (const [field, value] of Object.entries(given)) {
    // Programs that write out every field have null for what is not set.
    if (value === null) continue;
    const translation = Object.hasOwn(TRANSLATIONS, field) ? TRANSLATIONS[field] : undefined;
    if (translation === undefined) {
      if (value !== '' || !isSet(entry[field])) entry[field] = value;
      continue;
    }
    const { to, value: convert } = translation;
    if (isSet(given[to]) || isSet(entry[to])) {
      warnings.push({ field, why: `not used here: ${written.get(to) ?? to} is set too` });
      continue;
    }
    entry[to] = convert === undefined ? value : convert(value);
    written.set(to, field);
  }
  if (written.get('url') === 'httpUrl') entry['type'] ??= 'http';
  takeEmpties(entry);
  takeCommand(entry, written);
  if (opencode) takeReferences(entry, problems);
  takeBearer(entry, written);
  takeType(entry);
  takeTools(entry, written);
  if (entry['source'] === 'extension') {
    const why = 'an extension of the editor starts this server: write the command that it runs, with its args';
    problems.push({ field: 'source', why });
  }
  if (entry['source'] === 'custom' || entry['source'] === 'extension') delete entry['source'];
  for (const [field, why] of Object.entries(ADVICE)) {
    if (!Object.hasOwn(entry, field)) continue;
    warnings.push({ field, why });
    delete entry[field];
  }
  return { entry, written, problems, warnings };
}

/** Forms leave "" in a field that was not filled in: another name of it may hold what counts. */
const isSet = (value: unknown): boolean => value !== undefined && value !== null && value !== '';

const MAPS = ['env', 'headers'];
const LISTS = ['args', 'inheritEnv'];

/** PHP and Lua write an empty object as `[]`, or an empty list as `{}`; forms leave "" in what was not filled in. */
function takeEmpties(entry: Record<string, unknown>): void {
  for (const field of MAPS) {
    const map = entry[field];
    if (Array.isArray(map) && map.length === 0) entry[field] = {};
    else if (isObject(map))
      entry[field] = Object.fromEntries(Object.entries(map).filter(([, value]) => value !== null));
  }
  for (const field of LISTS) {
    const list = entry[field];
    if (isObject(list) && Object.keys(list).length === 0) entry[field] = [];
  }
  for (const field of ['cwd', 'type', 'transport']) if (entry[field] === '') delete entry[field];
  const { command, url } = entry;
  if (url === '' && command) delete entry['url'];
  if (command === '' && url) delete entry['command'];
}

/** `["npx", "-y", "x"]` of opencode; `{ "path": "npx", "args": […] }` of older Zeds. */
function takeCommand(entry: Record<string, unknown>, written: Map<string, string>): void {
  const { command } = entry;
  if (Array.isArray(command)) {
    const [program, ...args] = command as unknown[];
    entry['command'] = program;
    entry['args'] = [...args, ...(Array.isArray(entry['args']) ? (entry['args'] as unknown[]) : [])];
    if (args.length > 0) written.set('args', 'command');
  } else if (isObject(command) && 'path' in command) {
    const { path, ...rest } = command;
    entry['command'] = path;
    written.set('command', 'command.path');
    for (const [field, value] of Object.entries(rest)) {
      entry[field] ??= value;
      written.set(field, `command.${field}`);
    }
  }
}

/** `{env:NAME}` of opencode. */
function takeReferences(entry: Record<string, unknown>, problems: EntryNote[]): void {
  const taken = (value: unknown, field: string): unknown => {
    if (typeof value === 'string') {
      const { text, problem } = opencodeReferences(value);
      if (problem !== undefined) problems.push({ field, why: problem });
      return text;
    }
    if (Array.isArray(value)) return value.map((each, index) => taken(each, `${field}.${index}`));
    if (!isObject(value)) return value;
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, taken(each, `${field}.${key}`)]));
  };
  for (const field of ['command', 'args', 'env', 'cwd', 'url', 'headers']) {
    if (Object.hasOwn(entry, field)) entry[field] = taken(entry[field], field);
  }
}

/** Codex names the variables that hold what goes into headers. */
function takeBearer(entry: Record<string, unknown>, written: Map<string, string>): void {
  const { bearer_token_env_var: bearer, env_http_headers: named } = entry;
  const headers: Record<string, unknown> = {};
  if (typeof bearer === 'string') {
    headers['Authorization'] = `Bearer ${reference(bearer)}`;
    delete entry['bearer_token_env_var'];
    written.set('headers.Authorization', 'bearer_token_env_var');
  }
  if (isObject(named)) {
    for (const [header, variable] of Object.entries(named)) {
      headers[header] = reference(String(variable));
      written.set(`headers.${header}`, `env_http_headers.${header}`);
    }
    delete entry['env_http_headers'];
  }
  if (Object.keys(headers).length === 0) return;
  const own = entry['headers'];
  entry['headers'] = isObject(own) ? { ...own, ...headers } : (own ?? headers);
}

/** Lists of tools, as Codex, Gemini CLI and Copilot write them. */
function takeTools(entry: Record<string, unknown>, written: Map<string, string>): void {
  const rules: Record<string, unknown> = isObject(entry['tools']) ? { ...entry['tools'] } : {};
  if (Array.isArray(entry['tools'])) {
    rules['allow'] = entry['tools'];
    written.set('tools.allow', 'tools');
    delete entry['tools'];
  }
  for (const [rule, fields] of Object.entries({ allow: ALLOWED, deny: DENIED })) {
    for (const field of fields) {
      if (!Object.hasOwn(entry, field)) continue;
      rules[rule] ??= entry[field];
      written.set(`tools.${rule}`, field);
      delete entry[field];
    }
  }
  if (Object.keys(rules).length > 0) entry['tools'] = rules;
}

const ALLOWED = ['enabled_tools', 'includeTools'];
const DENIED = ['disabled_tools', 'excludeTools', 'disabledTools'];

/** Transports by whichever name; `remote` says no more than a url does. */
function takeType(entry: Record<string, unknown>): void {
  for (const field of ['type', 'transport']) {
    const said = entry[field];
    if (typeof said !== 'string' || TYPES.some((each) => each === said)) continue;
    if (isAnyUrl(said)) delete entry[field];
    else entry[field] = transportOf(said) ?? said;
  }
}
