import { isAbsolute, resolve } from 'node:path';
import { ConfigError, type ConfigPlace, describeAt } from './ConfigError.js';
import { nameProblem, urlProblem } from './checkServerConfig.js';
import type { ToolRules } from './curation/Curation.js';
import { ENTRY_FIELDS, type Entry, entrySchema, SETTING_FIELDS, type TYPES } from './entrySchema.js';
import { expandReferences, type References, type Variables } from './expandVariables.js';
import type { ServerConfig, ServerSettings, StdioTarget, UrlTarget } from './ServerConfig.js';
import type { Path } from './shapes/ConfigText.js';
import { normalizeEntry } from './shapes/normalizeEntry.js';
import { homeOf } from './shapes/references.js';

export interface EntryContext {
  readonly file: string;
  /** Absolute folder of the file. */
  readonly folder: string;
  readonly variables: Variables;
  /** What `${…}` of editors stands for. */
  readonly references: References;
  /** The line of what stands at that path of the entry. */
  readonly lineOf: (path: Path) => number | undefined;
}

export interface ParsedEntry {
  readonly config: ServerConfig | undefined;
  /** The entry in the fields of `mcpServers`, nothing expanded. */
  readonly entry: unknown;
  /** What clients see of its tools. */
  readonly tools: ToolRules | undefined;
  readonly problems: readonly ConfigError[];
  readonly warnings: readonly string[];
}

/** One entry of `mcpServers`. */
export function parseEntry(name: string, entry: unknown, context: EntryContext): ParsedEntry {
  const reader = new EntryReader(name, context);
  const config = reader.read(entry);
  return {
    config: reader.problems.length > 0 ? undefined : config,
    entry: reader.normalized ?? entry,
    tools: reader.tools,
    problems: reader.problems,
    warnings: reader.warnings,
  };
}

class EntryReader {
  readonly problems: ConfigError[] = [];
  readonly warnings: string[] = [];
  readonly #name: string;
  readonly #context: EntryContext;
  tools: ToolRules | undefined;
  normalized: Readonly<Record<string, unknown>> | undefined;
  #written: ReadonlyMap<string, string> = new Map();

  constructor(name: string, context: EntryContext) {
    this.#name = name;
    this.#context = context;
  }

  read(entry: unknown): ServerConfig | undefined {
    const badName = nameProblem(this.#name);
    if (badName !== undefined) this.#problem(undefined, badName);
    if (typeof entry !== 'object' || entry === null || Array.isArray(entry)) {
      this.#problem(undefined, 'expected an object with command or url');
      return undefined;
    }
    const normalized = normalizeEntry(entry as Readonly<Record<string, unknown>>);
    this.normalized = normalized.entry;
    this.#written = normalized.written;
    for (const { field, why } of normalized.problems) this.#problem(field, why);
    for (const { field, why } of normalized.warnings) this.#warn(field, why);
    for (const field of Object.keys(normalized.entry)) {
      if (!ENTRY_FIELDS.has(field)) this.#warn(field, 'not used here');
    }
    // What is wrong with the rest follows from it.
    if (normalized.problems.length > 0) return undefined;
    const checked = entrySchema.safeParse(normalized.entry);
    if (!checked.success) {
      for (const { path, message } of checked.error.issues) this.#problem(path.join('.'), message);
      return undefined;
    }
    const fields = checked.data;
    // What the schema makes of fields left out is undefined.
    this.tools = fields.tools as ToolRules | undefined;
    const transport = this.#transport(fields);
    if (transport === 'none') return undefined;
    const target = transport === 'stdio' ? this.#stdio(fields) : this.#url(transport, fields);
    return { name: this.#name, ...target, ...this.#settings(fields) };
  }

  /** `undefined`: a url without a transport. `none`: it cannot be run. */
  #transport(fields: Entry): ServerConfig['transport'] | 'none' {
    if (fields.command !== undefined && fields.url !== undefined) {
      this.#problem('url', 'command is set too: a server has one or the other');
      return 'none';
    }
    if (fields.command === undefined && fields.url === undefined) {
      this.#problem('command', 'expected a program to run here, or a url: both are missing');
      return 'none';
    }
    const said = fields.type ?? fields.transport;
    if (said === undefined) return fields.command === undefined ? undefined : 'stdio';
    if ((said === 'stdio') !== (fields.command !== undefined)) {
      const needs = said === 'stdio' ? 'command' : 'url';
      this.#problem(fields.type === undefined ? 'transport' : 'type', `"${said}" needs a ${needs}`);
      return 'none';
    }
    const known: Record<(typeof TYPES)[number], ServerConfig['transport']> = {
      stdio: 'stdio',
      http: 'http',
      'streamable-http': 'http',
      streamableHttp: 'http',
      sse: 'sse',
    };
    return known[said];
  }

  #stdio(fields: Entry): StdioTarget {
    for (const field of ['url', 'headers'] as const) {
      if (fields[field] !== undefined) this.#warn(field, 'not used for a program');
    }
    const command = this.#expandPath('command', fields.command ?? '');
    if (fields.args === undefined && /^[\w.-]+\s+\S/.test(fields.command ?? '')) {
      this.#warn('command', 'holds spaces, and is no shell line: the first word is the command, the others are args');
    }
    if (command?.trim() === '') this.#problem('command', 'expected a program to run, got an empty string');
    const cwd = fields.cwd === undefined ? undefined : this.#expandPath('cwd', fields.cwd);
    if (cwd === '') this.#problem('cwd', 'expected a folder, got an empty string');
    const args = fields.args?.map((each, index) => this.#expandPath(`args.${index}`, each) ?? '');
    const env = this.#expandAll('env', fields.env);
    return {
      transport: 'stdio',
      command: command ?? '',
      ...(args === undefined ? {} : { args }),
      ...(env === undefined ? {} : { env }),
      ...(cwd === undefined ? {} : { cwd: isAbsolute(cwd) ? cwd : resolve(this.#context.folder, cwd) }),
      ...(fields.inheritEnv === undefined ? {} : { inheritEnv: fields.inheritEnv }),
    };
  }

  #url(transport: 'http' | 'sse' | undefined, fields: Entry): UrlTarget {
    for (const field of ['args', 'env', 'cwd', 'inheritEnv'] as const) {
      if (fields[field] !== undefined) this.#warn(field, 'not used for a url');
    }
    const url = this.#expand('url', fields.url ?? '') ?? '';
    const badUrl = this.problems.length > 0 ? undefined : urlProblem(url);
    if (badUrl !== undefined) this.#problem('url', `expected ${badUrl}`);
    const headers = this.#expandAll('headers', fields.headers);
    return { ...(transport && { transport }), url, ...(headers === undefined ? {} : { headers }) };
  }

  #settings(fields: Entry): Partial<ServerSettings> {
    const settings: Record<string, unknown> = {};
    for (const field of SETTING_FIELDS) if (fields[field] !== undefined) settings[field] = fields[field];
    if (fields.enabled !== undefined || fields.disabled !== undefined) {
      settings['enabled'] = fields.enabled !== false && fields.disabled !== true;
    }
    return settings as Partial<ServerSettings>;
  }

  #expandAll(field: string, values: Readonly<Record<string, string>> | undefined): Record<string, string> | undefined {
    if (values === undefined) return undefined;
    return Object.fromEntries(
      Object.entries(values).map(([key, value]) => [key, this.#expand(`${field}.${key}`, value) ?? '']),
    );
  }

  /** No shell sees it: `~` would stay what it is. */
  #expandPath(field: string, text: string): string | undefined {
    const expanded = this.#expand(field, text);
    if (expanded === undefined || !/^~(?=[/\\]|$)/.test(text)) return expanded;
    return homeOf(this.#context.variables) + expanded.slice(1);
  }

  #expand(field: string, text: string): string | undefined {
    const expansion = expandReferences(text, this.#context.variables, this.#context.references);
    // Its name is not shown: in a password it is a piece of that.
    if (/(?<!\$)\$[A-Z_][A-Z0-9_]*/.test(text)) this.#warn(field, `a $NAME is passed on as it is: write \${NAME}`);
    if ('text' in expansion) return expansion.text;
    this.#problem(field, expansion.problem);
    return undefined;
  }

  #problem(field: string | undefined, why: string): void {
    this.problems.push(new ConfigError(this.#placeOf(field), why));
  }

  #warn(field: string, why: string): void {
    this.warnings.push(describeAt(this.#placeOf(field), why));
  }

  /** The field as the file calls it, and its line. */
  #placeOf(field: string | undefined): ConfigPlace {
    const { file, lineOf } = this.#context;
    const [first = '', ...rest] = field?.split('.') ?? [];
    const whole = field === undefined ? undefined : this.#written.get(field);
    const own = whole ?? (field === undefined ? undefined : [this.#written.get(first) ?? first, ...rest].join('.'));
    return { file, server: this.#name, field: own, line: lineOf(own?.split('.') ?? []) };
  }
}
