import { POOL_DEFAULTS } from '../../pool/server/options.js';
import type { ParsedConfig } from '../../registry/config/configFile.js';
import type { ServerConfig } from '../../registry/config/ServerConfig.js';
import { withoutUnusable } from '../config/withoutUnusable.js';
import type { Share } from './messages.js';

/**
 * What one worker has of a server: its part of the connections, so that all of them together have no more than one process would.
 * A `bound` server is none for workers: a session's connection is in one process, and its next request may come to another.
 */
export function shareOf(config: ServerConfig, { workers }: Share): ServerConfig {
  const most = config.maxConnections ?? POOL_DEFAULTS.maxConnections;
  return { ...config, maxConnections: Math.max(1, Math.floor(most / workers)) };
}

/** Why a server cannot be shared out among workers; undefined when it can. */
export function unshareable(config: ServerConfig, { workers }: Share): string | undefined {
  if (config.enabled === false) return undefined;
  if (config.sharing === 'bound')
    return `${config.name} has sharing "bound": sessions would not find their connections`;
  if (config.maxConnections !== undefined && config.maxConnections < workers) {
    return `${config.name} has maxConnections ${config.maxConnections}: fewer than workers`;
  }
  return undefined;
}

/** The same config, in which a server that cannot be shared out is broken: a worker that has it would lose the sessions of all. */
export function shareable<T extends ParsedConfig>(parsed: T, file: string, share: Share): T {
  return withoutUnusable(parsed, file, (config) => {
    const why = unshareable(config, share);
    return why === undefined ? undefined : { why: `--workers ${share.workers}: ${why}` };
  });
}
