import { existsSync } from 'node:fs';
import { messageOf } from '../core/errors.js';
import { ConfigError } from '../registry/config/ConfigError.js';
import { readConfigFile } from '../registry/config/configFile.js';
import type { ServerConfig, StdioServerConfig } from '../registry/ServerConfig.js';

const DEFAULT_FILES = ['mcp.json', 'examples/mcp.json'] as const;

export interface LoadedConfig {
  readonly file: string;
  /** Servers that can be started, and those that are switched off. */
  readonly servers: readonly StdioServerConfig[];
  readonly problems: readonly ConfigError[];
  readonly warnings: readonly string[];
}

/** Reads the config that was named, or the one that is there. */
export async function loadConfig(named: string | undefined): Promise<LoadedConfig> {
  const file = named ?? DEFAULT_FILES.find((each) => existsSync(each)) ?? DEFAULT_FILES[0];
  const { servers, problems, warnings } = await readConfigFile(file);
  const remote = servers.filter((each) => !isProgram(each)).map(({ name }) => remoteProblem(file, name));
  return { file, servers: servers.filter(isProgram), problems: [...problems, ...remote], warnings };
}

function isProgram(config: ServerConfig): config is StdioServerConfig {
  return config.transport === 'stdio';
}

function remoteProblem(file: string, server: string): ConfigError {
  return new ConfigError({ file, server, field: 'url' }, 'only programs (command) can be run here so far');
}

/** Why a server did not start, as a problem of the config where it is one. */
export function startProblem(file: string, config: StdioServerConfig, error: unknown): ConfigError {
  const code = codeOf(error);
  const missing = code === 'ENOENT' && config.cwd !== undefined && !existsSync(config.cwd) ? 'cwd' : 'command';
  const field = code === 'ENOENT' || code === 'EACCES' ? missing : undefined;
  const why = messageOf(error).replace(/^server ".*?" did not start: /, 'did not start: ');
  return new ConfigError({ file, server: config.name, field }, why.replace(/\s+/g, ' '), undefined, error);
}

/** The system's code for what went wrong first. */
function codeOf(error: unknown): string | undefined {
  for (let each = error; each instanceof Error; each = each.cause) {
    if ('syscall' in each && 'code' in each) return String(each.code);
  }
  return undefined;
}
