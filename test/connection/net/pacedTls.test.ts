import { createCipheriv, createHmac } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { Readable } from 'node:stream';
import { type SecureContextOptions, TLSSocket } from 'node:tls';
import { afterEach, expect, test, vi } from 'vitest';
import { askOnce } from '../../../src/connection/net/sockets/askOnce.js';
import { closeAfter } from '../../support/closeAfter.js';
import { openHttp } from '../../support/httpServers.js';
import { call, failure, LEGACY } from '../../support/rawCalls.js';
import { said } from '../../support/rawServer.js';

/** Records of TLS that hold a byte, or nothing at all: they are decrypted in turns of the event loop, and bounded. */

// Needs no certificate.
const TLS: SecureContextOptions = { ciphers: 'TLS_AES_128_GCM_SHA256', minVersion: 'TLSv1.3' };
const psk = Buffer.alloc(32, 1);

/** HKDF-Expand-Label of TLS 1.3, within one block. */
function expand(secret: Buffer, label: string, bytes: number): Buffer {
  const info = Buffer.from([0, bytes, label.length + 6, ...Buffer.from(`tls13 ${label}`), 0, 1]);
  return createHmac('sha256', secret).update(info).digest().subarray(0, bytes);
}

type Seal = (content: Uint8Array, kind: number) => Buffer;

/** Makes records of what a server says, for behind the ticket that it sends by itself. */
function sealer(secret: Buffer): Seal {
  const key = expand(secret, 'key', 16);
  const iv = expand(secret, 'iv', 12);
  let number = 1;
  return (content, kind) => {
    const nonce = Buffer.from(iv);
    nonce.writeUInt32BE((nonce.readUInt32BE(8) ^ number++) >>> 0, 8);
    const head = Buffer.from([23, 3, 3, 0, content.length + 17]);
    const cipher = createCipheriv('aes-128-gcm', key, nonce).setAAD(head);
    return Buffer.concat([
      head,
      cipher.update(content),
      cipher.update(Buffer.of(kind)),
      cipher.final(),
      cipher.getAuthTag(),
    ]);
  };
}

/** A server over TLS that answers what it is asked in records that it makes itself. */
async function open(answer: (asked: string, seal: Seal) => Buffer) {
  const sockets = new Set<Socket>();
  const server = createServer((raw) => {
    sockets.add(raw.on('error', () => undefined));
    const socket = new TLSSocket(raw, { ...TLS, isServer: true, pskCallback: () => psk } as object);
    let seal: Seal | undefined;
    socket.on('error', () => undefined);
    socket.on('keylog' as 'data', (line) => {
      const [name, , hex = ''] = line.toString().trim().split(' ');
      if (name === 'SERVER_TRAFFIC_SECRET_0') seal = sealer(Buffer.from(hex, 'hex'));
    });
    // Its own ticket goes out behind what it is told here.
    socket.on('data', (data) => setImmediate(() => raw.write(answer(data.toString(), seal as Seal))));
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  closeAfter({
    close: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  });
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`;
  const tls = { ...TLS, rejectUnauthorized: false, pskCallback: () => ({ psk, identity: 'x' }) };
  return openHttp(url, { ...LEGACY, startTimeoutMs: 3_000, tls });
}

/** Pieces of one byte that sockets were given, most of them in a turn of the event loop. */
function pieces(): { most: number } {
  const seen = { most: 0 };
  const { push } = Readable.prototype;
  let now = 0;
  vi.spyOn(Readable.prototype, 'push').mockImplementation(function (this: Readable, chunk: Buffer | null, ...more) {
    if (chunk?.length === 1) {
      if (now === 0) setImmediate(() => (now = 0));
      seen.most = Math.max(seen.most, ++now);
    }
    return push.call(this, chunk, ...more);
  });
  return seen;
}

afterEach(() => void vi.restoreAllMocks());

test('an answer in records of one byte is decrypted in turns, and is heard', async () => {
  const BYTES = 6_000;
  const connection = await open((asked, seal) => {
    const [head = '', body = ''] = asked.split('\r\n\r\n');
    const { id, method, params } = JSON.parse(body || '{}');
    const { protocolVersion } = params ?? {};
    const server = { protocolVersion, capabilities: {}, serverInfo: { name: 'x', version: '1' } };
    const result = method === 'tools/call' ? said('x'.repeat(BYTES)) : server;
    const json = id === undefined ? '' : JSON.stringify({ jsonrpc: '2.0', id, result });
    const status = head.startsWith('GET') ? 405 : id === undefined ? 202 : 200;
    const about = `content-type: application/json\r\ncontent-length: ${json.length}`;
    const bytes = Buffer.from(`HTTP/1.1 ${status} x\r\n${about}\r\n\r\n${json}`);
    return Buffer.concat(Array.from(bytes, (byte) => seal(Buffer.of(byte), 23)));
  });
  const seen = pieces();
  // Each look at the clock takes 1 ms: how much is read in a turn does not depend on the machine.
  let looks = 0;
  const { now } = performance;
  vi.spyOn(performance, 'now').mockImplementation(() => now.call(performance) + looks++);
  expect(await call(connection, 'x')).toEqual(said('x'.repeat(BYTES)));
  expect(seen.most).toBeGreaterThan(0);
  expect(seen.most).toBeLessThan(BYTES / 2);
});

test('tickets of sessions without end are refused', async () => {
  // Its lifetime, its age, a nonce, the ticket, no extensions.
  const ticket = Uint8Array.of(4, 0, 0, 15, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 1, 7, 0, 0);
  const opened = open((_, seal) => Buffer.concat(Array.from({ length: 1_000 }, () => seal(ticket, 22))));
  expect(await failure(opened)).toMatchObject({
    code: 'ERR_START_FAILED',
    cause: { code: 'ERR_PROTOCOL', message: expect.stringContaining('of TLS in a row hold no data') },
  });
});

test('a handshake of more than 32 KiB is refused before OpenSSL looks at its certificates', async () => {
  // TLS 1.2 with ECDHE, and nothing but that the client may go on; then certificates that do not end.
  const hello = Buffer.from(`0200002d0303${'00'.repeat(32)}00c02f000005ff01000100`, 'hex');
  const record = (content: Uint8Array): Buffer =>
    Buffer.concat([Buffer.of(22, 3, 3, content.length >> 8, content.length & 255), content]);
  const begun = Buffer.from('0b01800001 7ffd017ffa'.replace(/ /g, ''), 'hex');
  const server = createServer((raw) => {
    raw
      .on('error', () => undefined)
      .once('data', () => {
        raw.write(
          Buffer.concat([
            record(hello),
            record(begun),
            ...Array.from({ length: 12 }, () => record(Buffer.alloc(8_000))),
          ]),
        );
      });
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  closeAfter({ close: async () => void server.close() });
  const { port } = server.address() as AddressInfo;
  const url = `https://127.0.0.1:${port}/mcp`;
  const refused = { message: expect.stringContaining('of TLS in a row hold no data') };
  expect(await failure(openHttp(url, { ...LEGACY, startTimeoutMs: 3_000 }))).toMatchObject({ cause: refused });
  const { signal } = new AbortController();
  await expect(askOnce(new URL(url), { signal }, () => undefined)).rejects.toMatchObject(refused);
});

test('no server chooses parameters of Diffie-Hellman over finite fields, unless its ciphers are given', async () => {
  const offered = async (options: object): Promise<string[]> => {
    const server = createServer((raw) =>
      raw
        .on('error', () => undefined)
        .once('data', (data) => {
          hellos.push(data);
          raw.destroy();
        }),
    );
    const hellos: Buffer[] = [];
    await once(server.listen(0, '127.0.0.1'), 'listening');
    closeAfter({ close: async () => void server.close() });
    const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`;
    await failure(openHttp(url, { ...LEGACY, startTimeoutMs: 3_000, ...options }));
    const hello = hellos[0] ?? Buffer.alloc(0);
    // Behind the heads of record and message, the version, the random and the session's id.
    const at = 44 + (hello[43] ?? 0);
    const bytes = hello.readUInt16BE(at);
    return Array.from({ length: bytes / 2 }, (_, n) => hello.readUInt16BE(at + 2 + 2 * n).toString(16));
  };
  // DHE-RSA-AES128-GCM-SHA256 and ECDHE-RSA-AES128-GCM-SHA256.
  expect(await offered({})).toEqual(expect.arrayContaining(['c02f', '1301']));
  expect(await offered({})).not.toContain('9e');
  expect(await offered({ tls: { ciphers: 'DHE-RSA-AES128-GCM-SHA256' } })).toContain('9e');
});
