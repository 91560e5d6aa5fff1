import { OptionError, show } from '../../core/errors.js';
import { resolvePoolOptions, resolveServerOptions } from '../../pool/server/options.js';
import { ConfigError } from '../../registry/config/ConfigError.js';
import type { ParsedConfig } from '../../registry/config/configFile.js';
import type { ServerConfig } from '../../registry/config/ServerConfig.js';
import { transportsOf } from '../../registry/config/targets/targetsOf.js';

/** What is wrong with a server. */
export interface Unusable {
  readonly why: string;
  readonly field?: string;
}

/** The same config, in which a server that `judge` says something of is broken: one that cannot be run never hides the others. */
export function withoutUnusable<T extends ParsedConfig>(
  parsed: T,
  file: string,
  judge: (config: ServerConfig) => Unusable | undefined,
): T {
  const found = parsed.servers.flatMap((config) => {
    const unusable = judge(config);
    return unusable === undefined ? [] : [{ server: config.name, ...unusable }];
  });
  if (found.length === 0) return parsed;
  const broken = new Set([...parsed.broken, ...found.map(({ server }) => server)]);
  return {
    ...parsed,
    servers: parsed.servers.filter(({ name }) => !broken.has(name)),
    problems: [...parsed.problems, ...found.map(({ why, ...place }) => new ConfigError({ file, ...place }, why))],
    broken,
  };
}

/** What a pool would refuse to add, and all the others with it. */
export function unpoolable(config: ServerConfig): Unusable | undefined {
  const { sharing = 'shared', clientCapabilities = {} } = config;
  const transports = transportsOf(config);
  if (sharing === 'shared' && Object.keys(clientCapabilities).length > 0 && !transports.every(attributes)) {
    const why =
      'expected none with sharing "shared", except over Streamable HTTP: set "sharing" to "leased" or "bound"';
    return { field: 'clientCapabilities', why };
  }
  try {
    resolveServerOptions(config, DEFAULTS);
    return undefined;
  } catch (error) {
    if (!(error instanceof OptionError)) throw error;
    const { option, value, expected } = error;
    return { field: option.slice(`servers.${config.name}.`.length), why: `expected ${expected}, got ${show(value)}` };
  }
}

const DEFAULTS = resolvePoolOptions({});

/** Whether a connection tells which call a server's request belongs to; one to a URL may. */
const attributes = (transport: ServerConfig['transport']): boolean => transport !== 'stdio' && transport !== 'sse';
