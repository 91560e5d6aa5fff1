import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { expect, test } from 'vitest';
import { ask, socketPool } from '../../examples/pool-sockets.js';

test('many callers share two sockets, a dead socket is replaced, and nothing is left open', async () => {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.setEncoding('utf8');
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
    socket.on('data', (line: string) => socket.write(line.toUpperCase()));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const pool = socketPool((server.address() as AddressInfo).port);
  const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => ask(pool, `line ${i}`)));
  expect(answers).toEqual(Array.from({ length: 20 }, (_, i) => `LINE ${i}`));
  expect(sockets.size).toBe(2);

  const bothGone = new Promise<void>((resolve) => {
    let gone = 0;
    pool.on('destroyed', () => {
      if (++gone === 2) resolve();
    });
  });
  for (const socket of sockets) socket.destroy();
  await bothGone;
  expect(await ask(pool, 'again')).toBe('AGAIN');

  await pool.close();
  server.close();
  await once(server, 'close');
});
