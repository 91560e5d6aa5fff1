import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { afterEach, expect, test } from 'vitest';
import { Gateway } from '../../src/gateway/Gateway.js';
import type { GatewayOptions } from '../../src/gateway/GatewayOptions.js';
import { addressOrigin, variantOrigin } from '../../src/gateway/session/origin.js';
import { FakePool } from '../support/FakePool.js';

/** Clients of several addresses: all of 127.0.0.0/8 is this machine. */

let gateway: Gateway;
let url: string;
const streams: IncomingMessage[] = [];

const start = async (options: Partial<GatewayOptions>): Promise<void> => {
  gateway = new Gateway({ pool: new FakePool({ one: {} }), port: 0, ...options });
  url = `${(await gateway.listen()).url}/servers/one/mcp`;
};

afterEach(async () => {
  for (const stream of streams.splice(0)) stream.destroy();
  await gateway.close();
});

interface Answer {
  readonly status: number | undefined;
  readonly id: string;
  readonly code: unknown;
  readonly retryAfter: string | undefined;
}

async function send(localAddress: string, message: object, session = ''): Promise<Answer> {
  const headers = {
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
    ...(session === '' ? {} : { 'mcp-session-id': session }),
  };
  const outgoing = request(url, { method: 'POST', localAddress, agent: false, headers });
  outgoing.end(JSON.stringify({ jsonrpc: '2.0', id: 1, ...message }));
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) text += chunk;
  return {
    status: response.statusCode,
    id: String(response.headers['mcp-session-id'] ?? ''),
    code: (JSON.parse(text) as { error?: { data?: { code: unknown } } }).error?.data?.code,
    retryAfter: response.headers['retry-after'],
  };
}

const initialize = (address: string): Promise<Answer> =>
  send(address, {
    method: 'initialize',
    params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 't', version: '1' } },
  });
const alive = async (address: string, session: string): Promise<boolean> =>
  (await send(address, { method: 'ping' }, session)).status === 200;

async function listen(localAddress: string, session: string): Promise<void> {
  const headers = { accept: 'text/event-stream', 'mcp-session-id': session };
  const outgoing = request(url, { localAddress, agent: false, headers }).end();
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  streams.push(response.on('error', () => undefined));
}

test('a client that takes all places and touches them keeps no other client out, and no more than its share', async () => {
  await start({ maxSessions: 8 });
  const taken: string[] = [];
  for (let i = 0; i < 8; i++) taken.push((await initialize('127.0.0.1')).id);
  // It has its most: there is nothing for it to take from.
  expect(await initialize('127.0.0.1')).toMatchObject({ status: 429, code: 'ERR_QUEUE_FULL', retryAfter: '10' });
  const others: [string, string][] = [];
  for (const address of ['127.0.0.2', '127.0.0.2', '127.0.0.3', '127.0.0.2', '127.0.0.3']) {
    const { status, id } = await initialize(address);
    expect(status).toBe(200);
    others.push([address, id]);
  }
  // Three each for the first two, two for the third: nobody has less than another by more than one.
  expect(await initialize('127.0.0.3')).toMatchObject({ status: 429 });
  for (const [address, id] of others) expect(await alive(address, id)).toBe(true);
  const left = await Promise.all(taken.map((id) => alive('127.0.0.1', id)));
  // The longest unused went first.
  expect(left).toEqual([false, false, false, false, false, true, true, true]);
});

test('sessions that only listen make room too, after those that do not', async () => {
  await start({ maxSessions: 3 });
  const [first, second, third] = [
    await initialize('127.0.0.1'),
    await initialize('127.0.0.1'),
    await initialize('127.0.0.1'),
  ].map(({ id }) => id) as [string, string, string];
  await listen('127.0.0.1', first);
  await listen('127.0.0.1', third);
  expect((await initialize('127.0.0.2')).status).toBe(200);
  expect(await alive('127.0.0.1', second)).toBe(false);
  await Promise.all([first, third].map(async (id) => expect(await alive('127.0.0.1', id)).toBe(true)));
});

test('an address has no more than `maxSessionsPerAddress`: 429 for one more, until one of its own has ended', async () => {
  await start({ maxSessionsPerAddress: 2 });
  const { id } = await initialize('127.0.0.1');
  await initialize('127.0.0.1');
  expect(await initialize('127.0.0.1')).toMatchObject({ status: 429, code: 'ERR_QUEUE_FULL', retryAfter: '10' });
  expect((await initialize('127.0.0.2')).status).toBe(200);
  const outgoing = request(url, { method: 'DELETE', agent: false, headers: { 'mcp-session-id': id } }).end();
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  response.resume();
  expect((await initialize('127.0.0.1')).status).toBe(200);
});

test.each([
  ['10.1.2.3', '10.1.2.3'],
  ['::ffff:10.1.2.3', '10.1.2.3'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:db8:1:2::9', '2001:db8:1:2::/64'],
  ['2001:db8::9', '2001:db8:0:0::/64'],
  ['fe80::1%eth0', 'fe80:0:0:0::/64'],
  ['::1', '0:0:0:0::/64'],
  [undefined, 'unknown'],
])('%s counts to the share of %s', (address, origin) => expect(addressOrigin(address)).toBe(origin));

test.each([
  [{ sampling: { context: {} }, elicitation: { form: {} } }, 'a'],
  [{ roots: { listChanged: true } }, 'a'],
  [{ extensions: {} }, 'a with extensions'],
  [{ sampling: { anything: {} } }, 'a with extensions'],
  [{ constructor: { name: true }, toString: { length: {} } }, 'a with extensions'],
])('of clients of one address, those that say %j count to the share of %s', (capabilities, origin) =>
  expect(variantOrigin('a', capabilities as object)).toEqual({ origin }),
);
