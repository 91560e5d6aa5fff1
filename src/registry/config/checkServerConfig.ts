import { OptionError, show } from '../../core/errors.js';
import { checkNames, checkOneOf, checkText, type Names } from '../../core/options.js';
import { settingsSchema } from './entrySchema.js';
import type { ServerConfig, ServerSettings, StdioTarget, UrlTarget } from './ServerConfig.js';

const MAX_NAME_LENGTH = 128;

/** Why `name` cannot name a server; undefined when it can. */
export function nameProblem(name: string): string | undefined {
  if (name.trim() === '') return 'expected a name, got an empty one';
  if (name.length > MAX_NAME_LENGTH) return `expected a name of ${MAX_NAME_LENGTH} characters or fewer`;
  if (/\p{Cc}/u.test(name)) return 'expected a name without control characters';
  // Half a pair has no UTF-8, so that no URL or header can hold it.
  return /\p{Cs}/u.test(name) ? 'expected a name of whole characters, got half a surrogate pair' : undefined;
}

/** Why `url` is no address of a server; undefined when it is one. */
export function urlProblem(url: string): string | undefined {
  const { protocol } = URL.canParse(url) ? new URL(url) : { protocol: '' };
  return protocol === 'http:' || protocol === 'https:' ? undefined : 'an absolute http or https URL';
}

const SETTINGS: Names<ServerSettings> = {
  name: true,
  enabled: true,
  era: true,
  sharing: true,
  clientCapabilities: true,
  warmSpares: true,
  maxConnections: true,
  maxConcurrent: true,
  maxQueue: true,
  maxMessageBytes: true,
  acquireTimeoutMs: true,
  startTimeoutMs: true,
  idleTimeoutMs: true,
  timeouts: true,
};
const STDIO_FIELDS: Names<StdioTarget & ServerSettings> = {
  ...SETTINGS,
  transport: true,
  command: true,
  args: true,
  env: true,
  cwd: true,
  inheritEnv: true,
};
const URL_FIELDS: Names<UrlTarget & ServerSettings> = { ...SETTINGS, transport: true, url: true, headers: true };
const TIMEOUTS: Names<NonNullable<ServerSettings['timeouts']>> = { default: true, byTool: true };

/** Checks a config made by a program and hands it back. @throws OptionError naming server, field and what was expected */
export function checkServerConfig<C extends ServerConfig>(config: C): C {
  const name = checkText('name', config.name);
  const badName = nameProblem(name);
  if (badName !== undefined) throw new OptionError('name', name, badName);
  const option = (field: string): string => `servers[${show(name)}].${field}`;
  if (config.transport !== undefined) checkOneOf(option('transport'), config.transport, ['stdio', 'http', 'sse']);
  if (config.transport === 'stdio') {
    const { command, args = [], env = {}, cwd } = config as Extract<ServerConfig, { transport: 'stdio' }>;
    if (typeof command !== 'string' || command.trim() === '') {
      throw new OptionError(option('command'), command, 'a program to run');
    }
    for (const [index, each] of args.entries()) checkString(option(`args.${index}`), each);
    for (const [key, each] of Object.entries(env)) checkString(option(`env.${key}`), each);
    if (cwd !== undefined) checkText(option('cwd'), cwd);
  } else {
    const { url, headers = {} } = config as Extract<ServerConfig, { transport: 'http' | 'sse' }>;
    const badUrl = urlProblem(checkText(option('url'), url));
    if (badUrl !== undefined) throw new OptionError(option('url'), url, badUrl);
    for (const [key, each] of Object.entries(headers)) checkString(option(`headers.${key}`), each);
  }
  checkNames(`servers[${show(name)}]`, config, config.transport === 'stdio' ? STDIO_FIELDS : URL_FIELDS);
  if (config.timeouts !== undefined) checkNames(option('timeouts'), config.timeouts, TIMEOUTS);
  checkSettings(config, option);
  return config;
}

function checkSettings(config: ServerConfig, option: (field: string) => string): void {
  // Infinity is a number here and a word in files.
  const writable = JSON.parse(
    JSON.stringify(config, (_, value: unknown) => (value === Number.POSITIVE_INFINITY ? 'Infinity' : value)),
  ) as Record<string, unknown>;
  const checked = settingsSchema.safeParse(writable);
  const issue = checked.error?.issues[0];
  if (issue === undefined) return;
  const value = issue.path.reduce<unknown>((at, key) => (at as Record<PropertyKey, unknown>)[key], config);
  throw new OptionError(option(issue.path.join('.')), value, issue.message.replace(/^expected /, ''));
}

/** A string, shown in no error: it may be a secret. */
function checkString(option: string, value: unknown): void {
  if (typeof value !== 'string') throw new OptionError(option, typeof value, 'a string');
}
