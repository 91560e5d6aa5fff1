import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { Gateway } from '../../../src/gateway/Gateway.js';
import { closeAfter } from '../../support/closeAfter.js';
import { FakePool } from '../../support/FakePool.js';
import { exchange, RawClient } from '../../support/httpClient.js';

const MARK = Buffer.of(0xef, 0xbb, 0xbf);
/** A short body, a long one, and one that is read in turns. */
const SIZES = [10, 4_000, 700_000];

const bodyOf = (text: string): Buffer =>
  Buffer.from(
    JSON.stringify({ jsonrpc: '2.0', id: 2, method: 'tools/call', params: { name: 'echo', arguments: { text } } }),
  );

/** A gateway that reads bodies itself, and one whose host has read them into bytes. */
async function fronts() {
  const pool = new FakePool({ one: { methods: { 'tools/call': (params) => ({ text: params }) } } });
  const gateway = closeAfter(new Gateway({ pool, port: 0 }));
  const own = (await gateway.listen()).url;
  const server = createServer(async (request: IncomingMessage & { body?: unknown }, response) => {
    request.body = await buffer(request);
    gateway.handler(request, response);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  closeAfter({ close: async () => void (await once(server.close(), 'close')) });
  const clients = [own, `http://127.0.0.1:${(server.address() as AddressInfo).port}`].map(
    (url) => new RawClient(`${url}/servers/one/mcp`),
  );
  for (const client of clients) await client.initialize();
  const post = async (client: RawClient, body: Buffer) => {
    const { status, messages } = await exchange(client.url, {
      headers: { ...client.headers, connection: 'close' },
      body,
    });
    return { status, message: messages[0] };
  };
  return { clients, post, pool };
}

test('a body that begins with a mark (BOM) is read, of any length', async () => {
  const { clients, post } = await fronts();
  for (const client of clients) {
    for (const size of SIZES) {
      const text = 'ü'.repeat(size);
      const { status, message } = await post(client, Buffer.concat([MARK, bodyOf(text)]));
      expect(status).toBe(200);
      expect(message?.result).toMatchObject({ text: { arguments: { text } } });
    }
  }
});

test('a body that is not UTF-8 is refused, and reaches no server; U+FFFD itself is a character like any other', async () => {
  const { clients, post, pool } = await fronts();
  const asked = () => pool.calls.filter(({ method }) => method === 'tools/call').length;
  for (const client of clients) {
    for (const size of SIZES) {
      const text = 'ü'.repeat(size);
      const { status, message } = await post(client, Buffer.from(bodyOf(text).toString(), 'latin1'));
      expect([status, message?.error]).toMatchObject([400, { code: -32_700, message: 'the body is not UTF-8' }]);
    }
  }
  expect(asked()).toBe(0);
  for (const client of clients) {
    const { message } = await post(client, bodyOf('\uFFFD'));
    expect(message?.result).toMatchObject({ text: { arguments: { text: '\uFFFD' } } });
  }
});
