import { setTimeout as sleep } from 'node:timers/promises';
import type { McpPool } from '../../pool/McpPool.js';
import type { ServerConfig } from '../../registry/config/ServerConfig.js';
import { isSeveral } from '../../registry/config/targets/targetsOf.js';

const LOOK_MS = 20;

/** For a look at every target: also those are started that would stand by until they are needed. */
export function withAllTargets(config: ServerConfig): ServerConfig {
  return isSeveral(config) && config.balance === 'failover' ? { ...config, balance: 'round-robin' } : config;
}

/** How it is reached, in a word. */
export function transportOf(config: ServerConfig): string {
  if (!isSeveral(config)) return config.transport ?? 'url';
  return config.targets.length === 1 ? '1 target' : `${config.targets.length} targets`;
}

/** One line for each target of a server that is not up once all have had their time. */
export async function targetProblems(pool: McpPool, server: string, signal: AbortSignal): Promise<string[]> {
  const starting = (): boolean => pool.stats(server).targets?.some(({ state }) => state === 'starting') === true;
  while (!signal.aborted && starting()) await sleep(LOOK_MS);
  const { targets = [] } = pool.stats(server);
  return targets
    .filter(({ state, role }) => role === 'target' && state !== 'ready')
    .map(({ id, state, lastError }) => `target ${id}: ${(lastError ?? `it is ${state}`).replace(/\s+/g, ' ')}`);
}
