import { randomBytes } from 'node:crypto';

/** The variable that marks every process of ours, its descendants and, nested, theirs. */
export const TOKEN_VARIABLE = 'MCP_POOLKIT_TOKEN';

/** The variable that tells all that come from a gateway which configs are served above them. */
export const SERVED_VARIABLE = 'MCP_POOLKIT_SERVED';

/**
 * What a child inherits unless told otherwise; a trailing `*` stands for any ending. Credentials of this process are
 * not among them: a server gets those it is configured with.
 */
export const INHERITED_ENV: readonly string[] = Object.freeze(
  process.platform === 'win32'
    ? [
        ...['APPDATA', 'COMSPEC', 'HOMEDRIVE', 'HOMEPATH', 'LOCALAPPDATA', 'PATH', 'PATHEXT', 'PROCESSOR_ARCHITECTURE'],
        ...['PROGRAMDATA', 'PROGRAMFILES', 'SYSTEMDRIVE', 'SYSTEMROOT', 'TEMP', 'TMP', 'USERNAME', 'USERPROFILE'],
        'WINDIR',
      ]
    : ['HOME', 'LANG', 'LC_*', 'LOGNAME', 'PATH', 'SHELL', 'TERM', 'TMPDIR', 'TZ', 'USER'],
);

export interface EnvironmentConfig {
  readonly env?: Readonly<Record<string, string>> | undefined;
  readonly inheritEnv?: readonly string[] | undefined;
}

/** The whole environment of a child. `env` wins over what is inherited; the marks cannot be replaced. */
export function childEnvironment(
  config: EnvironmentConfig,
  token: string,
  own: NodeJS.ProcessEnv = process.env,
): Record<string, string> {
  const fold = process.platform === 'win32' ? (name: string) => name.toUpperCase() : (name: string) => name;
  const wanted = [...INHERITED_ENV, ...(config.inheritEnv ?? [])].map(fold);
  const exact = new Set(wanted);
  const prefixes = wanted.filter((name) => name.endsWith('*')).map((name) => name.slice(0, -1));
  const result: Record<string, string> = {};
  for (const [name, value] of Object.entries(own)) {
    // Exported shell functions are code; no server needs them and some shells run them.
    if (value === undefined || value.startsWith('()')) continue;
    const folded = fold(name);
    if (exact.has(folded) || prefixes.some((prefix) => folded.startsWith(prefix))) result[name] = value;
  }
  const replaced = new Set(Object.keys(config.env ?? {}).map(fold));
  for (const name of Object.keys(result)) if (replaced.has(fold(name))) delete result[name];
  Object.assign(result, config.env);
  // This process may itself be a child with a mark: that mark stays beside ours, so that its owner finds what we started.
  const outer = own[TOKEN_VARIABLE];
  result[TOKEN_VARIABLE] = outer === undefined ? token : `${outer}:${token}`;
  if (own[SERVED_VARIABLE] !== undefined) result[SERVED_VARIABLE] = own[SERVED_VARIABLE];
  return result;
}

/** A random mark for one child. */
export function newToken(): string {
  return randomBytes(16).toString('hex');
}

/** Whether a token variable's value, read from a running process, holds this token. */
export function bearsToken(value: string | undefined, token: string): boolean {
  return value?.split(':').includes(token) ?? false;
}
