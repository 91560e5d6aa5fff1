import { existsSync, statSync } from 'node:fs';
import { keptText, messageOf, ServerNotFoundError } from '../core/errors.js';
import { readWhole } from '../core/files/readWhole.js';
import { nearNames } from '../core/nearNames.js';
import { ConfigError } from '../registry/config/ConfigError.js';
import { type ParsedConfig, parseConfig, unreadable } from '../registry/config/configFile.js';
import type { ServerConfig } from '../registry/config/ServerConfig.js';
import { isSeveral } from '../registry/config/targets/targetsOf.js';
import { unpoolable, withoutUnusable } from './config/withoutUnusable.js';

/** Servers that are named where none is like the one that was asked for. */
const NAMES_SHOWN = 5;
/** What is wrong with a config that names none. */
export const NO_SERVERS = 'there are no servers in it';
const DEFAULT_FILES = ['mcp.json', 'examples/mcp.json'] as const;

export interface LoadedConfig extends ParsedConfig {
  readonly file: string;
  /** What the file holds; undefined when it cannot be read. */
  readonly text: string | undefined;
}

/** Reads the config that was named, or the one that is there. */
export async function loadConfig(named: string | undefined): Promise<LoadedConfig> {
  const file = named ?? DEFAULT_FILES.find((each) => existsSync(each)) ?? DEFAULT_FILES[0];
  try {
    const text = await readWhole(file);
    return { ...withoutUnusable(parseConfig(text, { file }), file, unpoolable), file, text };
  } catch (error) {
    return { ...unreadable(file, error), file, text: undefined };
  }
}

/** Whether a config may say something else later: a pipe such as `<(…)` is read once. */
export const canChange = (file: string): boolean => statSync(file, { throwIfNoEntry: false })?.isFile() === true;

/** Why the config has no such server: what is wrong with it or with the file, or that no server has this name. */
export function notThere({ file, servers, problems, broken }: LoadedConfig, server: string): Error {
  const own = problems.filter((each) => each.server === undefined || each.server === server);
  if (own.length > 0) return new Error(own.map(({ message }) => message).join('; '));
  if (broken.has(server)) return new ConfigError({ file, server }, 'something is wrong with it, and with 1,000 others');
  const names = servers.map(({ name }) => name);
  const near = nearNames(server, names);
  return new ServerNotFoundError(server, near.length > 0 ? near : names.slice(0, NAMES_SHOWN));
}

/** Why a server did not start, as a problem of the config where it is one. What the server said of it may be megabytes: the beginning is told. */
export function startProblem(file: string, config: ServerConfig, error: unknown): ConfigError {
  const why = messageOf(error).replace(/^server ".*?" did not start: /, 'did not start: ');
  const place = { file, server: config.name, field: fieldOf(config, codeOf(error)) };
  return new ConfigError(place, keptText(why).replace(/\s+/g, ' '), undefined, error);
}

function fieldOf(config: ServerConfig, code: string | undefined): string | undefined {
  if (isSeveral(config)) return 'targets';
  if (config.transport !== 'stdio') return 'url';
  if (code !== 'ENOENT' && code !== 'EACCES') return undefined;
  return config.cwd !== undefined && !existsSync(config.cwd) ? 'cwd' : 'command';
}

/** The system's code for what went wrong first. */
function codeOf(error: unknown): string | undefined {
  for (let each = error; each instanceof Error; each = each.cause) {
    if ('syscall' in each && 'code' in each) return String(each.code);
  }
  return undefined;
}
