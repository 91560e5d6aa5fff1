import type { Logger } from '../../core/logger.js';
import type { GatewayOptions } from '../../gateway/GatewayOptions.js';
import { RedisEventStore } from '../../gateway/replicas/RedisEventStore.js';
import { RedisReplicas } from '../../gateway/replicas/RedisReplicas.js';
import type { ShutdownPlan } from '../../shutdown/ShutdownPlan.js';

/** What replicas share through the Redis at `url`; nothing without one. Serving does not wait for it. @throws Error */
export async function joinRedis(
  url: string | undefined,
  { plan, logger }: { readonly plan: ShutdownPlan; readonly logger: Logger },
): Promise<Pick<GatewayOptions, 'replicas' | 'eventStore'>> {
  if (url === undefined) return {};
  if (!/^rediss?:\/\//.test(url) || !isAddress(url))
    throw new Error('--redis: expected an address like redis://host:6379');
  const { Redis } = await import('ioredis').catch((error: unknown) => {
    throw new Error('--redis needs the package ioredis: npm install ioredis', { cause: error });
  });
  // Never connects itself: it is what others are made after.
  const redis = new Redis(url, { lazyConnect: true });
  const replicas = new RedisReplicas({ redis, logger });
  const eventStore = new RedisEventStore({ redis, logger });
  plan.add('replicas', replicas, { phase: 'release' });
  plan.add('event store', eventStore, { phase: 'release' });
  return { replicas, eventStore };
}

/** Whether ioredis can read it: a password with a bare `%` is none. Nothing of it is told. */
function isAddress(url: string): boolean {
  try {
    const { username, password } = new URL(url);
    return decodeURIComponent(username + password) !== undefined;
  } catch {
    return false;
  }
}
