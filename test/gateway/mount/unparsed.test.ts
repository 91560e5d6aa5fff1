import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Gateway } from '../../../src/gateway/Gateway.js';
import { closeAfter } from '../../support/closeAfter.js';
import { FakePool } from '../../support/FakePool.js';

/** What Node's parser refuses is answered, and the rest of it read: its client, or what stands between, gets to the answer. */

let gateway: Gateway;
let socket: Socket;
let failed: unknown;

beforeEach(async () => {
  gateway = closeAfter(new Gateway({ pool: new FakePool({ one: {} }), port: 0 }));
  const { port } = await gateway.listen();
  failed = undefined;
  socket = connect(port, '127.0.0.1').on('error', (error) => {
    failed = error;
  });
});

afterEach(() => socket.destroy());

test.each([
  ['a head of more than 16 KiB', 431, `POST /mcp HTTP/1.1\r\nhost: localhost\r\na: ${'x'.repeat(20_000)}\r\n`],
  ['a header with a control character', 400, 'POST /mcp HTTP/1.1\r\nhost: localhost\r\na: \x01\r\n'],
  ['a target with other bytes than ASCII', 400, 'POST /mcp?\xff\xfe HTTP/1.1\r\nhost: localhost\r\n'],
  ['what is no HTTP', 400, 'hello\r\n'],
])('%s is answered, with all that follows read', async (_, status, head) => {
  socket.write(`${head}content-length: 3000000\r\n\r\n`, 'latin1');
  socket.write('x'.repeat(3_000_000));
  const [answer] = (await once(socket, 'data')) as [Buffer];
  expect(answer.toString()).toMatch(new RegExp(`^HTTP/1\\.1 ${status} [^]*connection: close\r\n[^]*\r\n\r\n$`));
  await expect.poll(() => socket.writableLength).toBe(0);
  expect(failed).toBeUndefined();
  // In the order of a client that leaves: its end comes behind all that it sent.
  socket.end();
  await expect.poll(() => gateway.stats.connections).toBe(0);
  expect(failed).toBeUndefined();
});

test('a body that breaks in the middle ends its connection', async () => {
  const head =
    'host: localhost\r\ncontent-type: application/json\r\naccept: application/json\r\ntransfer-encoding: chunked';
  socket.write(`POST /mcp HTTP/1.1\r\n${head}\r\n\r\n3\r\n{"a\r\nno length\r\n`);
  const [answer] = (await once(socket, 'data')) as [Buffer];
  expect(answer.toString()).toMatch(/^HTTP\/1\.1 400 /);
  await expect.poll(() => gateway.stats.connections).toBe(0);
});
