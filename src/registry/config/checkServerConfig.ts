import type { z } from 'zod';
import { OptionError, show } from '../../core/errors.js';
import { checkNames, checkOneOf, checkOptions, checkText, type Names } from '../../core/options.js';
import { headerProblem } from '../../core/text/headers.js';
import { settingsSchema } from './entrySchema.js';
import { type OAuthSettings, oauthProblem, oauthSchema } from './OAuthSettings.js';
import type {
  ServerConfig,
  ServerSettings,
  SeveralTargets,
  SingleServerConfig,
  StdioTarget,
  TargetPlace,
  TargetReach,
  UrlTarget,
} from './ServerConfig.js';
import { severalProblem } from './targets/severalProblem.js';
import { severalSchema } from './targets/severalSchema.js';
import { isSeveral } from './targets/targetsOf.js';

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
  const { protocol, username, password } = URL.canParse(url)
    ? new URL(url)
    : { protocol: '', username: '', password: '' };
  if (username !== '' || password !== '') return 'a URL without user and password: give them in headers';
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
  repeatable: true,
};
const STDIO: Names<StdioTarget> = {
  transport: true,
  command: true,
  args: true,
  env: true,
  cwd: true,
  inheritEnv: true,
};
const URL_: Names<UrlTarget> = { transport: true, url: true, headers: true, auth: true };
const PLACE: Names<TargetPlace> = { weight: true, zone: true };
const SEVERAL_FIELDS: Names<SeveralTargets & ServerSettings> = {
  ...SETTINGS,
  transport: true,
  targets: true,
  balance: true,
  zone: true,
  hedge: true,
  retryRatio: true,
  outliers: true,
  drainMs: true,
  mirror: true,
  canary: true,
};
const TIMEOUTS: Names<NonNullable<ServerSettings['timeouts']>> = { default: true, byTool: true };

/** Checks a config made by a program and hands it back. @throws OptionError naming server, field and what was expected */
export function checkServerConfig<C extends ServerConfig>(config: C): C {
  const name = checkText('name', checkOptions('server', config).name);
  const badName = nameProblem(name);
  if (badName !== undefined) throw new OptionError('name', name, badName);
  const option = (field: string): string => `servers[${show(name)}].${field}`;
  const at = `servers[${show(name)}]`;
  if (isSeveral(config)) {
    for (const field of ['command', 'url']) {
      if (field in config) throw new OptionError(option(field), typeof config, 'none: the server has targets');
    }
    checkNames(at, config, SEVERAL_FIELDS);
    checkBySchema(config, severalSchema, option);
    const problem = severalProblem(config);
    if (problem !== undefined) throw new OptionError(option(problem.field), problem.value, problem.why);
    for (const [index, target] of config.targets.entries()) checkReach(target, `${at}.targets.${index}`, PLACE);
    for (const each of ['mirror', 'canary'] as const) {
      const to = config[each]?.to;
      if (to !== undefined) checkReach(to, `${at}.${each}.to`, {});
    }
  } else checkReach(config as SingleServerConfig, at, SETTINGS);
  if (config.timeouts !== undefined) checkNames(option('timeouts'), config.timeouts, TIMEOUTS);
  checkBySchema(config, settingsSchema, option);
  return config;
}

/** How a server or target is reached; `others`: what may stand beside it. */
function checkReach(reach: TargetReach, at: string, others: Readonly<Record<string, true>>): void {
  const option = (field: string): string => `${at}.${field}`;
  if (reach.transport !== undefined) checkOneOf(option('transport'), reach.transport, ['stdio', 'http', 'sse']);
  if (reach.transport === 'stdio' || 'command' in reach) {
    const { command, args = [], env = {}, cwd } = reach as StdioTarget;
    if (typeof command !== 'string' || command.trim() === '') {
      throw new OptionError(option('command'), command, 'a program to run');
    }
    for (const [index, each] of args.entries()) checkString(option(`args.${index}`), each);
    for (const [key, each] of Object.entries(env)) checkString(option(`env.${key}`), each);
    checkString(option('command'), command);
    if (cwd !== undefined) checkString(option('cwd'), checkText(option('cwd'), cwd));
    checkNames(at, reach, { ...others, ...STDIO });
    return;
  }
  const { url, headers = {}, auth } = reach;
  const badUrl = urlProblem(checkText(option('url'), url));
  if (badUrl !== undefined) throw new OptionError(option('url'), url.replace(/\/\/[^/]*@/, '//'), badUrl);
  for (const [key, each] of Object.entries(headers)) {
    const problem = headerProblem(key, each);
    if (problem !== undefined) throw new OptionError(option(`headers.${key}`), problem.got, problem.expected);
  }
  if (auth !== undefined) checkAuth(auth, { url, headers }, option);
  checkNames(at, reach, { ...others, ...URL_ });
}

function checkBySchema(config: ServerConfig, schema: z.ZodType, option: (field: string) => string): void {
  // Infinity is a number here and a word in files.
  const writable = JSON.parse(
    JSON.stringify(config, (_, value: unknown) => (value === Number.POSITIVE_INFINITY ? 'Infinity' : value)),
  ) as Record<string, unknown>;
  const checked = schema.safeParse(writable);
  const issue = checked.error?.issues[0];
  if (issue === undefined) return;
  const value = issue.path.reduce<unknown>((at, key) => (at as Record<PropertyKey, unknown>)[key], config);
  throw new OptionError(option(issue.path.join('.')), value, issue.message.replace(/^expected /, ''));
}

function checkAuth(
  auth: unknown,
  target: { readonly url: string; readonly headers: Readonly<Record<string, string>> },
  option: (field: string) => string,
): void {
  const checked = oauthSchema.safeParse(auth);
  const issue = checked.error?.issues[0];
  // Values are not shown: one of them is a secret.
  if (issue !== undefined) {
    throw new OptionError(
      option(['auth', ...issue.path].join('.')),
      undefined,
      issue.message.replace(/^expected /, ''),
    );
  }
  const wrong = oauthProblem(checked.data as OAuthSettings, target);
  if (wrong !== undefined) throw new OptionError(option(wrong.field), undefined, wrong.why.replace(/^expected /, ''));
}

/** A string, shown in no error: it may be a secret. */
function checkString(option: string, value: unknown): void {
  if (typeof value !== 'string') throw new OptionError(option, typeof value, 'a string');
  // Node's own refusal would show the value.
  if (value.includes('\0')) throw new OptionError(option, 'one with a NUL', 'a string without NUL');
}
