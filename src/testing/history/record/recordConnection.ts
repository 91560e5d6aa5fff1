import type { Connection } from '../../../connection/Connection.js';
import type { History } from '../History.js';

const counts = new WeakMap<History, number>();

/**
 * A connection whose calls are counted while they are in flight: more than `max` at once convicts. Give it to a pool by
 * its `wrapConnection` option.
 */
export function recordConnection(connection: Connection, history: History, max: number): Connection {
  const number = (counts.get(history) ?? 0) + 1;
  counts.set(history, number);
  const limit = `${connection.server} connection ${number}`;
  history.add({ type: 'limit', limit, max });
  const request: Connection['request'] = async (method, params, options) => {
    if (method !== 'tools/call') return connection.request(method, params, options);
    const call = history.nextCall();
    history.add({ type: 'hold', limit, call });
    try {
      return await connection.request(method, params, options);
    } finally {
      history.add({ type: 'release', limit, call });
    }
  };
  return new Proxy(connection, {
    get(target, name) {
      if (name === 'request') return request;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}
