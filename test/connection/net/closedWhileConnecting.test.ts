import { once } from 'node:events';
import { createServer as createHttps } from 'node:https';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Dispatcher } from 'undici';
import { expect, test } from 'vitest';
import { HttpDispatchers } from '../../../src/connection/net/sockets/HttpDispatchers.js';
import { closeAfter } from '../../support/closeAfter.js';

// Needs no certificate.
const anonymous = { ciphers: 'ADH-AES128-GCM-SHA256:@SECLEVEL=0', maxVersion: 'TLSv1.2' } as const;

function hearing() {
  const errors: Error[] = [];
  const statuses: number[] = [];
  const handler: Dispatcher.DispatchHandler = {
    onRequestStart: () => undefined,
    onResponseStart: (_control, status) => void statuses.push(status),
    onResponseData: () => undefined,
    onResponseEnd: () => undefined,
    onResponseError: (_control, error) => void errors.push(error),
  };
  return { errors, statuses, handler };
}

test('a connection that undici makes anew by itself is given up when all are closed', async () => {
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
  const { errors, handler } = hearing();
  for (let i = 0; i < 2; i++) {
    dispatchers.of('replies', undefined).dispatch({ origin, path: '/', method: 'POST' }, handler);
  }
  await expect.poll(() => sockets.length).toBe(2);
  await dispatchers.close();
  await expect.poll(() => errors.length).toBe(1);
});

test('requests for which undici connected anew by itself, and those behind them, fail when all are closed', async () => {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    socket.on('error', () => undefined).resume();
    // What follows on the second one is never answered.
    if (sockets.push(socket) === 1) socket.end('HTTP/1.1 202 Accepted\r\nconnection: close\r\n\r\n');
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  closeAfter({
    close: async () => {
      for (const each of sockets) each.destroy();
      server.close();
    },
  });
  const dispatchers = closeAfter(new HttpDispatchers({ maxReplySockets: 1 }));
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const { errors, statuses, handler } = hearing();
  for (let i = 0; i < 4; i++) {
    dispatchers.of('replies', undefined).dispatch({ origin, path: '/', method: 'POST' }, handler);
  }
  await expect.poll(() => sockets[1]?.bytesRead ?? 0).toBeGreaterThan(0);
  await dispatchers.close();
  await expect.poll(() => [statuses, errors.length]).toEqual([[202], 3]);
  expect(sockets).toHaveLength(2);
});

/** A proxy whose tunnels stand at once: `onHandshake` has the socket when TLS begins on one, or on the way to the proxy itself. */
async function tunnels(onHandshake: (socket: Socket, hello: Buffer) => void) {
  const asked: string[] = [];
  const sockets = new Set<Socket>();
  const proxy = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
    const onData = (chunk: Buffer): void => {
      const [method, to = ''] = chunk.toString('latin1').split(' ');
      if (method === 'CONNECT') {
        asked.push(to);
        socket.write('HTTP/1.1 200 OK\r\n\r\n');
      } else {
        socket.off('data', onData);
        onHandshake(socket, chunk);
      }
    };
    socket.on('data', onData);
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  closeAfter({
    close: async () => {
      for (const each of sockets) each.destroy();
      proxy.close();
    },
  });
  return { asked, sockets, port: (proxy.address() as AddressInfo).port };
}

const FAR = { origin: 'https://far.test', path: '/', method: 'POST' } as const;

test.each([
  ['http', 'the close'],
  ['https', 'the close'],
  ['http', 'its request'],
])('TLS that nothing answers behind a proxy by %s is given up with %s', async (scheme, by) => {
  let begun = false;
  const { sockets, port } = await tunnels((socket) => {
    begun = true;
    socket.resume();
  });
  const dispatchers = closeAfter(new HttpDispatchers({ connectTimeoutMs: 600_000 }));
  const { errors, handler } = hearing();
  dispatchers.of('calls', new URL(`${scheme}://127.0.0.1:${port}`)).dispatch(FAR, handler);
  const { connecting } = dispatchers;
  await expect.poll(() => begun).toBe(true);
  if (by === 'the close') await dispatchers.close();
  else connecting?.destroy(new Error('it is given up'));
  await expect.poll(() => [errors.length, sockets.size]).toEqual([1, 0]);
});

test('an https URL is asked over the TLS of a tunnel, by the name that `tls` has', async () => {
  const names: unknown[] = [];
  const https = createHttps({ ...anonymous, dhparam: 'auto' }, (req, res) => {
    names.push((req.socket as TLSSocket).servername, req.headers.host);
    res.writeHead(202).end();
  });
  const { asked, port } = await tunnels((socket, hello) => {
    socket.pause();
    socket.unshift(hello);
    https.emit('connection', socket);
  });
  const tls = { ...anonymous, rejectUnauthorized: false, servername: 'own.test' };
  const dispatchers = closeAfter(new HttpDispatchers({ tls }));
  const { errors, statuses, handler } = hearing();
  dispatchers.of('calls', new URL(`http://127.0.0.1:${port}`)).dispatch(FAR, handler);
  await expect.poll(() => [...statuses, ...errors]).toEqual([202]);
  expect([...asked, ...names]).toEqual(['far.test:443', 'own.test', 'far.test']);
});
