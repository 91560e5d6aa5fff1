import type { GatewayPool } from '../GatewayOptions.js';

/** A pool as far as `holds` says: the other servers are not in it. */
export function somePool(pool: GatewayPool, holds: (server: string) => boolean): GatewayPool {
  const own: Partial<GatewayPool> = {
    servers: () => pool.servers().filter(holds),
    hasServer: (name) => holds(name) && pool.hasServer(name),
  };
  return new Proxy(pool, {
    get: (target, key) => {
      const value: unknown = Reflect.get(Object.hasOwn(own, key) ? own : target, key);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}
