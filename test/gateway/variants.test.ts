import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { Gateway } from '../../src/gateway/Gateway.js';
import type { Authenticate } from '../../src/gateway/users/Authenticate.js';
import { UnifiedPool } from '../../src/pool/UnifiedPool.js';

/** Clients of several addresses that say other capabilities with each request: all of 127.0.0.0/8 is this machine. */

const META = 'io.modelcontextprotocol';
const MAX = 8;
let upstream: Server;
let sessions = 0;
let gateway: Gateway;
let pool: UnifiedPool;
let url: string;

/** A server of the legacy era: each call is answered with the session that it came in. */
beforeAll(async () => {
  upstream = createServer(async (incoming, response) => {
    let text = '';
    for await (const chunk of incoming.setEncoding('utf8')) text += chunk;
    if (incoming.method !== 'POST') return response.writeHead(incoming.method === 'DELETE' ? 200 : 405).end();
    const { id, method } = JSON.parse(text) as { id?: number; method: string };
    if (id === undefined) return response.writeHead(202).end();
    const session = String(method === 'initialize' ? ++sessions : incoming.headers['mcp-session-id']);
    const result =
      method === 'initialize'
        ? { protocolVersion: '2025-06-18', capabilities: { tools: {} }, serverInfo: { name: 'u', version: '1' } }
        : method === 'tools/list'
          ? { tools: [{ name: 'where', inputSchema: { type: 'object' } }] }
          : { content: [{ type: 'text', text: session }] };
    const headers = { 'content-type': 'application/json', 'mcp-session-id': session };
    return response.writeHead(200, headers).end(JSON.stringify({ jsonrpc: '2.0', id, result }));
  }).listen(0, '127.0.0.1');
  await once(upstream, 'listening');
});

afterAll(() => void upstream.close());

afterEach(async () => {
  await gateway.close();
  await pool.close();
});

async function start(users?: boolean): Promise<void> {
  const { port } = upstream.address() as AddressInfo;
  pool = new UnifiedPool({ maxConnections: MAX });
  pool.addServer({ name: 'u', transport: 'http', url: `http://127.0.0.1:${port}/mcp` });
  const authenticate: Authenticate = async ({ headers }) => ({ principal: String(headers.authorization) });
  gateway = new Gateway({ pool, port: 0, ...(users && { authenticate }) });
  url = `${(await gateway.listen()).url}/servers/u/mcp`;
}

async function post(localAddress: string, headers: Record<string, string>, message: object) {
  const all = { 'content-type': 'application/json', accept: 'application/json, text/event-stream', ...headers };
  const outgoing = request(url, { method: 'POST', localAddress, agent: false, headers: all });
  outgoing.end(JSON.stringify({ jsonrpc: '2.0', ...message }));
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) text += chunk;
  return { text, session: String(response.headers['mcp-session-id'] ?? '') };
}

/** The session at the server that a call of such a client runs in. */
async function modern(address: string, capabilities: object, user = 'one'): Promise<string> {
  const meta = {
    [`${META}/protocolVersion`]: '2026-07-28',
    [`${META}/clientInfo`]: { name: 't', version: '1' },
    [`${META}/clientCapabilities`]: capabilities,
  };
  const headers = {
    'mcp-protocol-version': '2026-07-28',
    'mcp-method': 'tools/call',
    'mcp-name': 'where',
    authorization: user,
  };
  const params = { name: 'where', arguments: {}, _meta: meta };
  const { text } = await post(address, headers, { id: 1, method: 'tools/call', params });
  return /"text":"(\d+)"/.exec(text)?.[1] ?? text;
}

/** The same for a client of the legacy era, whose session it opens. */
async function legacy(address: string, capabilities: object): Promise<() => Promise<string>> {
  const clientInfo = { name: 't', version: '1' };
  const params = { protocolVersion: '2025-06-18', capabilities, clientInfo };
  const { session } = await post(address, {}, { id: 1, method: 'initialize', params });
  await post(address, { 'mcp-session-id': session }, { method: 'notifications/initialized' });
  return async () => {
    const call = { id: 2, method: 'tools/call', params: { name: 'where', arguments: {} } };
    const { text } = await post(address, { 'mcp-session-id': session }, call);
    return /"text":"(\d+)"/.exec(text)?.[1] ?? text;
  };
}

let variant = 0;
const another = (): object => ({ elicitation: {}, extensions: { x: { v: ++variant } } });

/** Far more variants than there are connections: one after the other, then many at once. */
async function attack(send: (capabilities: object) => Promise<string>): Promise<void> {
  for (let i = 0; i < 2 * MAX; i++) expect(await send(another())).toMatch(/^\d+$/);
  const all = await Promise.all(Array.from({ length: 3 * MAX }, () => send(another())));
  expect(new Set(all).size).toBe(3 * MAX);
}

test('a client that says other capabilities with each request goes round in its own connections', async () => {
  await start();
  // Whom it must not disturb: clients without any, of another address, and of its own address with those that the protocol names.
  const session = await legacy('127.0.0.3', { roots: { listChanged: true } });
  const victims = [
    () => modern('127.0.0.3', {}),
    () => modern('127.0.0.3', { elicitation: { form: {} } }),
    () => modern('127.0.0.2', { sampling: {} }),
    session,
  ];
  const where = (): Promise<string[]> => Promise.all(victims.map((victim) => victim()));
  const before = await where();
  expect(new Set(before).size).toBe(victims.length);
  await attack((capabilities) => modern('127.0.0.2', capabilities));
  expect(await where()).toEqual(before);
  await attack(async (capabilities) => (await legacy('127.0.0.2', capabilities))());
  expect(await where()).toEqual(before);
});

test('nor does it keep out those that come after it', async () => {
  await start();
  await attack((capabilities) => modern('127.0.0.2', capabilities));
  const later = await modern('127.0.0.3', another());
  const plain = await modern('127.0.0.2', {});
  await attack((capabilities) => modern('127.0.0.2', capabilities));
  expect(await modern('127.0.0.2', {})).toBe(plain);
  expect(later).toMatch(/^\d+$/);
});

test('with users each goes round in the connections of its own', async () => {
  await start(true);
  const victims = ['a', 'b'].map((user) => () => modern('127.0.0.2', {}, user));
  const where = (): Promise<string[]> => Promise.all(victims.map((victim) => victim()));
  const before = await where();
  await attack((capabilities) => modern('127.0.0.2', capabilities, 'attacker'));
  expect(await where()).toEqual(before);
});
