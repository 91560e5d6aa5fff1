import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { startNginx, stop } from '../../bench/fleet/programs.js';
import type { Closeable } from '../../src/core/close/CloseScope.js';
import { Gateway } from '../../src/gateway/Gateway.js';
import { bearerTokens } from '../../src/gateway/users/bearerTokens.js';
import { closeAfter } from '../support/closeAfter.js';
import { FakePool } from '../support/FakePool.js';
import { have } from '../support/have.js';
import { exchange, RawClient } from '../support/httpClient.js';
import { tempFolder } from '../support/tempFolder.js';

/** Replicas behind nginx with the file of `deploy/`: what one client brings about takes no replica from others. */

const KIB = 1_024;
const SESSION_KEY = randomBytes(32).toString('hex');
const ALICE = { authorization: 'Bearer a-token-of-alice-0123456789' };
const MALLORY = { authorization: 'Bearer a-token-of-mallory-0123456789' };
const HAVE_NGINX = have('nginx');

async function behindNginx(ports: readonly number[]): Promise<number> {
  const { child, port } = await startNginx(tempFolder(), ports, 1_000);
  closeAfter({ close: async () => void (await stop(child)) } as Closeable);
  return port;
}

/** Sends all of it, and resolves with the first line of the answer, or none, once the connection has ended. */
async function firstLine(port: number, request: string): Promise<string> {
  const socket = connect(port, '127.0.0.1').on('error', () => undefined);
  let text = '';
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  socket.write(request, 'latin1');
  await new Promise((resolve) => socket.once('close', resolve));
  return text.slice(0, text.indexOf('\r\n'));
}

const big = 'x'.repeat(6_000);
const hostile = (line: string, target = '/mcp'): string =>
  `POST ${target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n${line}Content-Length: 300000\r\n\r\n${'x'.repeat(300_000)}`;

test.skipIf(!HAVE_NGINX)(
  'what is refused of one client, and heads that are none, take no replica from others',
  async () => {
    const gateways = Array.from({ length: 3 }, () => {
      const call = (params: { readonly name?: string } | undefined): unknown =>
        params?.name === 'hang' ? new Promise(() => undefined) : { content: [] };
      const pool = new FakePool({ one: { methods: { 'tools/call': call as never } } });
      const [alice, mallory] = [ALICE, MALLORY].map(({ authorization }) => authorization.slice('Bearer '.length));
      const authenticate = bearerTokens({ [alice as string]: 'alice', [mallory as string]: 'mallory' });
      const options = { sessionKeys: [SESSION_KEY], maxBufferedBytes: 640 * KIB };
      return closeAfter(new Gateway({ pool, port: 0, authenticate, ...options }));
    });
    const ports = await Promise.all(gateways.map(async (each) => (await each.listen()).port));
    const port = await behindNginx(ports);
    const alice = new RawClient(`http://127.0.0.1:${port}/servers/one/mcp`, ALICE);
    const mallory = new RawClient(alice.url, MALLORY);
    await alice.initialize();
    await mallory.initialize();
    let id = 0;
    const hanging = (url: string) => {
      const call = {
        jsonrpc: '2.0',
        id: `h${++id}`,
        method: 'tools/call',
        params: { name: 'hang', pad: big.repeat(7) },
      };
      return exchange(url, { headers: mallory.headers, body: JSON.stringify(call) });
    };
    // Three take all of mallory's share in each replica.
    for (const [index, at] of ports.entries()) {
      for (let held = 0; held < 3; held++)
        void hanging(`http://127.0.0.1:${at}/servers/one/mcp`).catch(() => undefined);
      await expect.poll(() => gateways[index]?.stats.heldBytes).toBeGreaterThan(360 * KIB);
    }
    const own = async (): Promise<unknown> => (await alice.call('tools/call', { name: 'x' })).result;
    for (let at = 0; at < 3; at++) {
      const { status, headers } = await hanging(alice.url);
      expect([status, headers['retry-after']]).toEqual([429, '10']);
      expect(await own()).toEqual({ content: [] });
    }
    const heads: [string, string][] = [
      ['431', hostile(`a: ${big}\r\nb: ${big}\r\nc: ${big}\r\n`)],
      ['400', hostile('a: \x01\r\n')],
      ['400', hostile('', '/mcp?\xff')],
    ];
    for (const [status, head] of heads) {
      for (let at = 0; at < 3; at++) expect(await firstLine(port, head)).toContain(` ${status} `);
      expect(await own()).toEqual({ content: [] });
    }
  },
);

test.skipIf(!HAVE_NGINX)(
  'with all replicas left alone calls go on, and what was not sent anywhere is not said to be unknown',
  async () => {
    const replicas = Array.from({ length: 3 }, () =>
      createServer((request, response) => {
        if (request.url === '/fails') request.socket.destroy();
        else request.resume().on('end', () => response.end('{}'));
      }).listen(0, '127.0.0.1'),
    );
    const close = (server: Server): void => void server.close().closeAllConnections();
    onTestFinished(() => replicas.forEach(close));
    await Promise.all(replicas.map((each) => once(each, 'listening')));
    const url = `http://127.0.0.1:${await behindNginx(replicas.map((each) => (each.address() as AddressInfo).port))}`;
    const codeOf = (text: string): unknown =>
      (JSON.parse(text) as { error: { data: { code: string } } }).error.data.code;
    for (let at = 0; at < 3; at++) {
      const { status, text } = await exchange(`${url}/fails`, { body: '{}' });
      expect([status, codeOf(text)]).toEqual([502, 'ERR_OUTCOME_UNKNOWN']);
    }
    for (let at = 0; at < 3; at++) expect((await exchange(url, { body: '{}' })).status).toBe(200);
    const [last] = replicas;
    for (const each of replicas.slice(1)) close(each);
    for (let at = 0; at < 5; at++) expect((await exchange(url, { body: '{}' })).status).toBe(200);
    if (last !== undefined) close(last);
    const { status, headers, text } = await exchange(url, { body: '{}' });
    expect([status, headers['retry-after'], codeOf(text)]).toEqual([503, '1', 'ERR_NOT_SENT']);
  },
);
