// Pools anything: here plain sockets to a line server. Two sockets serve many callers, one line at a time each.
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { ResourcePool } from 'mcp-poolkit/pool';

/** A pool of connected sockets; one that dies is taken out at once. */
export function socketPool(port: number, maxResources = 2): ResourcePool<Socket> {
  const pool = new ResourcePool<Socket>(
    {
      create: async ({ signal }) => {
        const socket = connect({ host: '127.0.0.1', port, noDelay: true, signal });
        await once(socket, 'connect');
        socket.setEncoding('utf8');
        socket.on('error', () => undefined).on('close', () => pool.retire(socket, 'closed by peer'));
        return socket;
      },
      destroy: async (socket) => {
        if (socket.closed) return;
        const closed = once(socket, 'close');
        socket.destroy();
        await closed;
      },
      validate: (socket) => socket.writable,
    },
    { name: 'sockets', maxResources, acquireTimeoutMs: 2_000, createTimeoutMs: 1_000 },
  );
  return pool;
}

/** Sends one line on a socket of its own and gives the line that comes back. */
export function ask(pool: ResourcePool<Socket>, line: string, signal?: AbortSignal): Promise<string> {
  return pool.use(
    async (socket) => {
      socket.write(`${line}\n`);
      const [answer] = (await once(socket, 'data', { signal })) as [string];
      return answer.trimEnd();
    },
    { signal },
  );
}
