import { isAbsolute, resolve } from 'node:path';
import { COMMAND_LINE_HINT, isCommandLine } from '../../core/text/commandLine.js';
import { headerProblem, isOwnHeader } from '../../core/text/headers.js';
import { type ConfigPlace, notUsed } from './ConfigError.js';
import { nameProblem, urlProblem } from './checkServerConfig.js';
import type { ToolRules } from './curation/Curation.js';
import { type Entry, entrySchema, SETTING_FIELDS, TYPES, unknownFields } from './entrySchema.js';
import type { Expansion } from './expandVariables.js';
import { oauthProblem, readOAuth } from './OAuthSettings.js';
import type {
  ServerConfig,
  ServerSettings,
  ServerTarget,
  SeveralTargets,
  StdioTarget,
  UrlTarget,
} from './ServerConfig.js';
import type { Path } from './shapes/ConfigText.js';
import type { Findings, ServerFindings } from './shapes/Findings.js';
import { normalizeEntry, OTHER_OAUTH } from './shapes/normalizeEntry.js';
import { bareReference, HOME } from './shapes/references.js';
import { isAnyUrl, plainTransport, transportOf } from './shapes/transports.js';
import { severalProblem } from './targets/severalProblem.js';
import { SEVERAL_FIELDS, SEVERAL_SHAPE, TARGET_FIELDS, type WrittenReach } from './targets/severalSchema.js';

export interface EntryContext {
  readonly file: string;
  /** Absolute folder of the file. */
  readonly folder: string;
  /** What one of its texts is with its references. */
  readonly expand: (text: string, isUrl: boolean) => Expansion;
  /** Whether it stands in the table of opencode, which has references of its own. */
  readonly opencode: boolean;
  /** The line of what stands at that path of the entry. */
  readonly lineOf: (path: Path) => number | undefined;
  /** Where problems and warnings go. */
  readonly findings: Findings;
}

export interface ParsedEntry {
  readonly config: ServerConfig | undefined;
  /** The entry in the fields of `mcpServers`, nothing expanded. */
  readonly entry: unknown;
  /** What clients see of its tools. */
  readonly tools: ToolRules | undefined;
}

/** One entry of `mcpServers`. */
export function parseEntry(name: string, entry: unknown, context: EntryContext): ParsedEntry {
  const reader = new EntryReader(name, context);
  const config = reader.read(entry);
  reader.end();
  return { config: reader.failed ? undefined : config, entry: reader.normalized ?? entry, tools: reader.tools };
}

class EntryReader {
  readonly #name: string;
  readonly #context: EntryContext;
  readonly #findings: ServerFindings;
  tools: ToolRules | undefined;
  normalized: Readonly<Record<string, unknown>> | undefined;
  #written: ReadonlyMap<string, string> = new Map();

  constructor(name: string, context: EntryContext) {
    this.#name = name;
    this.#context = context;
    this.#findings = context.findings.of(name);
  }

  get failed(): boolean {
    return this.#findings.failed;
  }

  /** Says how many problems were not named. */
  end(): void {
    this.#findings.end(() => this.#placeOf(undefined));
  }

  read(entry: unknown): ServerConfig | undefined {
    const badName = nameProblem(this.#name);
    if (badName !== undefined) this.#problem(undefined, badName);
    if (typeof entry !== 'object' || entry === null || Array.isArray(entry)) {
      this.#problem(undefined, 'expected an object with command or url');
      return undefined;
    }
    const normalized = normalizeEntry(entry as Readonly<Record<string, unknown>>, this.#context.opencode);
    this.normalized = normalized.entry;
    this.#written = normalized.written;
    for (const { field, why } of normalized.problems) this.#problem(field, why);
    for (const { field, why } of normalized.warnings) this.#warn(field, why);
    for (const { at, field, known } of unknownFields(normalized.entry)) {
      this.#warn(`${at}${field}`, () => notUsed(field, known));
    }
    // What is wrong with the rest follows from it.
    if (normalized.problems.length > 0) return undefined;
    const checked = entrySchema.safeParse(this.#withoutForeignAuth(normalized.entry));
    if (!checked.success) {
      for (const { path, message } of checked.error.issues) this.#problem(path.join('.'), message);
      return undefined;
    }
    const fields = checked.data;
    // What the schema makes of fields left out is undefined.
    this.tools = fields.tools as ToolRules | undefined;
    if (fields.targets !== undefined) {
      const several = this.#several(fields, fields.targets);
      return several && { name: this.#name, ...this.#settings(fields), ...several };
    }
    for (const field of Object.keys(SEVERAL_SHAPE) as (keyof Entry)[]) {
      if (fields[field] !== undefined) this.#warn(field, 'not used without targets');
    }
    const reach = this.#reach(fields, '');
    return reach && { name: this.#name, ...reach, ...this.#settings(fields) };
  }

  #several(fields: Entry, targets: NonNullable<Entry['targets']>): SeveralTargets | undefined {
    const { mirror, canary } = fields;
    for (const field of ['command', 'url', 'auth'] as const) {
      if (fields[field] !== undefined) this.#problem(field, 'expected none: the server has targets');
    }
    if (this.failed) return undefined;
    const said = this.#said(fields, '');
    if (said === 'none') return undefined;
    const shared = said && { transport: said };
    const asked = { ...fields, targets: targets.map(plainTransport), ...shared } as unknown as SeveralTargets;
    const problem = severalProblem(asked);
    if (problem !== undefined) {
      this.#problem(problem.field, `expected ${problem.why}`);
      return undefined;
    }
    const read = targets.map((target, index): ServerTarget | undefined => {
      const { weight, zone } = target;
      const reach = this.#target(target, `targets.${index}.`, said);
      return reach && { ...reach, ...(weight !== undefined && { weight }), ...(zone !== undefined && { zone }) };
    });
    const several: Record<string, unknown> = { targets: read, ...shared };
    for (const field of SEVERAL_FIELDS) if (fields[field] !== undefined) several[field] = fields[field];
    for (const [field, other] of Object.entries({ mirror, canary })) {
      if (other !== undefined) several[field] = { ...other, to: this.#target(other.to, `${field}.to.`, said) };
    }
    return several as unknown as SeveralTargets;
  }

  #target(target: WrittenReach, at: string, shared: ServerConfig['transport']): StdioTarget | UrlTarget | undefined {
    for (const field of Object.keys(target)) {
      if (!TARGET_FIELDS.has(field) || (at.endsWith('to.') && (field === 'weight' || field === 'zone'))) {
        this.#warn(`${at}${field}`, () => notUsed(field, TARGET_FIELDS));
      }
    }
    const own = target.type === undefined && target.transport === undefined && target.command === undefined;
    return this.#reach(own && shared !== undefined ? { ...target, transport: shared } : target, at);
  }

  /** `at`: what goes before the names of its fields, for a target. */
  #reach(fields: WrittenReach, at: string): StdioTarget | UrlTarget | undefined {
    const transport = this.#transport(fields, at);
    if (transport === 'none') return undefined;
    return transport === 'stdio' ? this.#stdio(fields, at) : this.#url(transport, fields, at);
  }

  /** `auth` is a word of other programs too, in shapes of their own. */
  #withoutForeignAuth(entry: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
    const { auth, ...rest } = entry;
    if (typeof auth !== 'object' || auth === null || Object.hasOwn(auth, 'type')) return entry;
    this.#warn('auth', OTHER_OAUTH);
    return rest;
  }

  /** `undefined`: a url without a transport. `none`: it cannot be run. */
  #transport(fields: WrittenReach, at: string): ServerConfig['transport'] | 'none' {
    if (fields.command !== undefined && fields.url !== undefined) {
      this.#problem(`${at}url`, 'command is set too: a server has one or the other');
      return 'none';
    }
    if (fields.command === undefined && fields.url === undefined) {
      this.#problem(`${at}command`, 'expected a program to run here, or a url: both are missing');
      return 'none';
    }
    const said = this.#said(fields, at);
    if (said === 'none') return said;
    if (said === undefined) return fields.command === undefined ? undefined : 'stdio';
    if ((said === 'stdio') !== (fields.command !== undefined)) {
      const needs = said === 'stdio' ? 'command' : 'url';
      const field = `${at}${fields.type === undefined ? 'transport' : 'type'}`;
      this.#problem(field, `"${fields.type ?? fields.transport}" needs a ${needs}`);
      return 'none';
    }
    return said;
  }

  /** The transport that stands there, in our words. */
  #said({ type, transport }: Pick<WrittenReach, 'type' | 'transport'>, at: string): ServerConfig['transport'] | 'none' {
    const said = type ?? transport;
    if (said === undefined) return undefined;
    const known = transportOf(said);
    if (known !== undefined || isAnyUrl(said)) return known;
    const expected = TYPES.map((each) => `"${each}"`).join(', ');
    this.#problem(`${at}${type === undefined ? 'transport' : 'type'}`, `expected one of ${expected}`);
    return 'none';
  }

  #stdio(fields: WrittenReach, at: string): StdioTarget {
    for (const field of ['url', 'headers', 'auth'] as const) {
      if (fields[field] !== undefined) this.#warn(`${at}${field}`, 'not used for a program');
    }
    const command = this.#expandPath(`${at}command`, fields.command ?? '');
    if ((fields.args ?? []).length === 0 && isCommandLine(fields.command ?? ''))
      this.#warn(`${at}command`, COMMAND_LINE_HINT);
    if (command?.trim() === '') this.#problem(`${at}command`, 'expected a program to run, got an empty string');
    const cwd = fields.cwd === undefined ? undefined : this.#expandPath(`${at}cwd`, fields.cwd);
    if (cwd === '') this.#problem(`${at}cwd`, 'expected a folder, got an empty string');
    const args = fields.args?.map((each, index) => this.#expandPath(`${at}args.${index}`, each) ?? '');
    const env = fields.env && this.#expandAll(`${at}env`, fields.env);
    return {
      transport: 'stdio',
      command: command ?? '',
      ...(args === undefined ? {} : { args }),
      ...(env === undefined ? {} : { env }),
      ...(cwd === undefined ? {} : { cwd: isAbsolute(cwd) ? cwd : resolve(this.#context.folder, cwd) }),
      ...(fields.inheritEnv === undefined ? {} : { inheritEnv: fields.inheritEnv }),
    };
  }

  #url(transport: 'http' | 'sse' | undefined, fields: WrittenReach, at: string): UrlTarget {
    for (const field of ['args', 'env', 'cwd', 'inheritEnv'] as const) {
      if (fields[field] !== undefined) this.#warn(`${at}${field}`, 'not used for a url');
    }
    const url = this.#expand(`${at}url`, fields.url ?? '', true) ?? '';
    const badUrl = this.failed ? undefined : urlProblem(url);
    if (badUrl !== undefined) this.#problem(`${at}url`, `expected ${badUrl}`);
    const headers = fields.headers && this.#headers(`${at}headers`, fields.headers);
    const auth = readOAuth(fields.auth, (field, text, isUrl) => this.#expand(`${at}${field}`, text, isUrl));
    const settled = auth !== undefined && !this.failed;
    const wrong = settled ? oauthProblem(auth, { url, ...(headers && { headers }) }) : undefined;
    if (wrong !== undefined) this.#problem(`${at}${wrong.field}`, wrong.why);
    return { ...(transport && { transport }), url, ...(headers && { headers }), ...(auth && { auth }) };
  }

  #headers(field: string, given: Readonly<Record<string, string>>): Record<string, string> {
    const own = Object.keys(given).filter(isOwnHeader);
    if (own.length > 0) this.#warn(field, () => `not sent, since the protocol sets them itself: ${own.join(', ')}`);
    const others = Object.entries(given).filter(([name]) => !isOwnHeader(name));
    const headers = this.#expandAll(field, Object.fromEntries(others));
    for (const [name, value] of Object.entries(headers)) {
      const problem = headerProblem(name, value);
      if (problem !== undefined) this.#problem(`${field}.${name}`, `expected ${problem.expected}`);
    }
    return headers;
  }

  #settings(fields: Entry): Partial<ServerSettings> {
    const settings: Record<string, unknown> = {};
    for (const field of SETTING_FIELDS) if (fields[field] !== undefined) settings[field] = fields[field];
    if (fields.enabled !== undefined || fields.disabled !== undefined) {
      settings['enabled'] = fields.enabled !== false && fields.disabled !== true;
    }
    return settings as Partial<ServerSettings>;
  }

  #expandAll(field: string, values: Readonly<Record<string, string>>): Record<string, string> {
    const expanded = Object.entries(values).map(([key, text]) => [key, this.#expand(`${field}.${key}`, text) ?? '']);
    return Object.fromEntries(expanded) as Record<string, string>;
  }

  /** No shell sees it: `~` would stay what it is. */
  #expandPath(field: string, text: string): string | undefined {
    return this.#expand(
      field,
      text.replace(/^~(?=[/\\]|$)/, () => HOME),
    );
  }

  #expand(field: string, text: string, isUrl = false): string | undefined {
    const expansion = this.#context.expand(text, isUrl);
    const bare = bareReference(text);
    if (bare !== undefined) this.#warn(field, bare);
    if ('text' in expansion && !expansion.text.includes('\0')) return expansion.text;
    this.#problem(field, 'text' in expansion ? 'expected a string without NUL' : expansion.problem);
    return undefined;
  }

  #problem(field: string | undefined, why: string): void {
    this.#findings.problem(() => this.#placeOf(field), why);
  }

  #warn(field: string, why: string | (() => string)): void {
    this.#findings.warn(() => this.#placeOf(field), why);
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
