import { once } from 'node:events';
import { createServer as createHttps } from 'node:https';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import type { Dispatcher } from 'undici';
import { expect, test } from 'vitest';
import { HttpDispatchers } from '../../../src/connection/net/sockets/HttpDispatchers.js';
import { closeAfter } from '../../support/closeAfter.js';

test('a connection that undici makes anew by itself is given up when all are closed', async () => {
  // Needs no certificate.
  const anonymous = { ciphers: 'ADH-AES128-GCM-SHA256:@SECLEVEL=0', maxVersion: 'TLSv1.2' } as const;
  const https = createHttps({ ...anonymous, dhparam: 'auto' }, (_req, res) => {
    res.writeHead(202, { connection: 'close' }).end();
  });
  const sockets: Socket[] = [];
  // The second handshake is never answered.
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    if (sockets.push(socket) === 1) https.emit('connection', socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const dispatchers = closeAfter(
    new HttpDispatchers({
      maxReplySockets: 1,
      connectTimeoutMs: 600_000,
      tls: { ...anonymous, rejectUnauthorized: false },
    }),
  );
  closeAfter({
    close: async () => {
      for (const each of sockets) each.destroy();
      server.close();
    },
  });
  const origin = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const errors: Error[] = [];
  const handler: Dispatcher.DispatchHandler = {
    onRequestStart: () => undefined,
    onResponseStart: () => undefined,
    onResponseData: () => undefined,
    onResponseEnd: () => undefined,
    onResponseError: (_control, error) => void errors.push(error),
  };
  for (let i = 0; i < 2; i++) {
    dispatchers.of('replies', undefined).dispatch({ origin, path: '/', method: 'POST' }, handler);
  }
  await expect.poll(() => sockets.length).toBe(2);
  await dispatchers.close();
  await expect.poll(() => errors.length).toBe(1);
});
