import { messageOf, PoolkitError, StartError } from '../../core/errors.js';
import type { ServerConfig } from '../../registry/config/ServerConfig.js';
import type { StartReport } from '../McpPool.js';

/** Starts all at once; what fails is told of and stops no other. */
export async function startAll(
  configs: Iterable<ServerConfig>,
  start: (config: ServerConfig) => Promise<void>,
): Promise<StartReport> {
  const started: string[] = [];
  const failed: { name: string; error: PoolkitError }[] = [];
  const one = async (config: ServerConfig): Promise<void> => {
    const { name } = config;
    try {
      await start(config);
      started.push(name);
    } catch (thrown) {
      const known = thrown instanceof PoolkitError;
      failed.push({ name, error: known ? thrown : new StartError(name, messageOf(thrown), {}, thrown) });
    }
  };
  await Promise.all([...configs].map(one));
  return { started, failed };
}
