import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { expect, test } from 'vitest';
import { resetSocket } from '../../../../src/testing/wire/tcp/resetSocket.js';
import { closeAfter } from '../../../support/closeAfter.js';

/** Both ends of a connection; each may end its side alone. */
async function pair(): Promise<{ readonly own: Socket; readonly other: Socket }> {
  const server = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const own = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', allowHalfOpen: true });
  const [[other]] = (await Promise.all([once(server, 'connection'), once(own, 'connect')])) as [[Socket], unknown];
  closeAfter({
    close: async () => {
      other.destroy();
      server.close();
    },
  });
  return { own, other };
}

test('a connection is reset; one whose end is on its way is closed, and leaves nothing open', async () => {
  for (const [end, seen] of [
    [false, 'ECONNRESET'],
    [true, 'end'],
  ] as const) {
    const { own, other } = await pair();
    const errors: unknown[] = [];
    own.on('error', (error) => errors.push(error));
    const told = new Promise((resolve) => {
      other.on('error', ({ message }) => resolve(/ECONNRESET/.exec(message)?.[0]));
      other.on('end', () => resolve('end'));
      other.resume();
    });
    const closed = once(own, 'close');
    if (end) own.end();
    resetSocket(own);
    await closed;
    expect([await told, errors]).toEqual([seen, []]);
  }
});
