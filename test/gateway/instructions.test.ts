import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { silentLogger } from '../../src/core/logger.js';
import { joinedInstructions } from '../../src/gateway/aggregate/instructions.js';
import { Gateway } from '../../src/gateway/Gateway.js';
import { collectGarbage } from '../support/collectGarbage.js';
import { FakePool, type FakeServer } from '../support/FakePool.js';
import { exchange } from '../support/httpClient.js';

const KIB = 1_024;
const MIB = 2 ** 20;
const VERSION = '2026-07-28';
const META = 'io.modelcontextprotocol';
const sockets: Socket[] = [];
const warned: object[] = [];
let gateway: Gateway;
let pool: FakePool;

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  warned.length = 0;
  await gateway?.close();
});

async function start(servers: Readonly<Record<string, FakeServer>>): Promise<string> {
  pool = new FakePool(servers);
  const logger = { ...silentLogger, warn: (fields: object | string) => void warned.push(fields as object) };
  gateway = new Gateway({ pool, port: 0, logger });
  return (await gateway.listen()).url;
}

const messageOf = (method: 'initialize' | 'server/discover'): string => {
  const clientInfo = { name: 'raw', version: '1' };
  const params =
    method === 'initialize'
      ? { protocolVersion: '2025-11-25', capabilities: {}, clientInfo }
      : { _meta: { [`${META}/protocolVersion`]: VERSION, [`${META}/clientCapabilities`]: {} } };
  return JSON.stringify({ jsonrpc: '2.0', id: 1, method, params });
};

const headersOf = (method: string): Record<string, string> => ({
  'content-type': 'application/json',
  accept: 'application/json, text/event-stream',
  ...(method === 'initialize' ? {} : { 'mcp-protocol-version': VERSION, 'mcp-method': method }),
});

async function told(url: string, method: 'initialize' | 'server/discover') {
  const { messages, text } = await exchange(url, { headers: headersOf(method), body: messageOf(method) });
  const { instructions = '' } = (messages[0]?.result ?? {}) as { instructions?: string };
  return { text, result: messages[0]?.result, instructions };
}

/** A client that asks, and reads no more than the beginning of the answer. */
async function askAndWait(url: string, method: 'initialize' | 'server/discover'): Promise<void> {
  const { hostname, port, pathname } = new URL(url);
  const socket = connect(Number(port), hostname);
  sockets.push(socket.on('error', () => undefined));
  const body = messageOf(method);
  const headers = Object.entries({ host: `${hostname}:${port}`, ...headersOf(method), 'content-length': body.length });
  socket.write(`POST ${pathname} HTTP/1.1\r\n${headers.map((each) => each.join(': ')).join('\r\n')}\r\n\r\n${body}`);
  await once(socket, 'readable');
}

test('where all servers are, instructions take 64 KiB of one and 256 KiB of all, and those that say little keep it', async () => {
  const long = { instructions: '\u0001'.repeat(160_000) };
  const url = await start({ a: long, b: long, c: { instructions: 'Be kind.' }, d: long, e: long, f: long });
  for (const method of ['initialize', 'server/discover'] as const) {
    const { text, instructions } = await told(`${url}/mcp`, method);
    expect(text.length).toBeLessThan(257 * KIB);
    expect(text.length).toBeGreaterThan(250 * KIB);
    expect(instructions).toContain('# c\n\nBe kind.\n\n# d\n\n\u0001');
    expect(instructions.endsWith('\u0001\n\n[cut here]')).toBe(true);
  }
  // Told once, whoever asks.
  expect(warned).toEqual(['a', 'b', 'd', 'e', 'f'].map((server) => ({ server })));
  const own = await told(`${url}/servers/a/mcp`, 'initialize');
  expect(own.instructions).toBe(long.instructions);
});

test('instructions are cut between characters, whatever they take as JSON', () => {
  const cut: string[] = [];
  const onCut = (server: string): void => void cut.push(server);
  const just = 'x'.repeat(64 * KIB);
  expect(joinedInstructions([{ server: 'just', text: just }], onCut)).toBe(`# just\n\n${just}`);
  expect(cut).toEqual([]);
  for (const one of ['x', '"', '\n', 'é', '€', '😀', '\ud800', 'x😀', '\u0000€']) {
    const text = joinedInstructions([{ server: 'a', text: one.repeat(70_000) }], onCut);
    const bytes = Buffer.byteLength(JSON.stringify(text));
    expect(bytes).toBeLessThanOrEqual(64 * KIB + 10);
    expect(bytes).toBeGreaterThan(62 * KIB);
    if (one !== '\ud800') expect(text).toMatch(/^(?:[^\ud800-\udfff]|[\ud800-\udbff][\udc00-\udfff])*$/);
  }
  expect(cut).toHaveLength(9);
  const many = Array.from({ length: 1_000 }, (_, i) => ({ server: `${i}`, text: 'x'.repeat(1_000) }));
  expect(joinedInstructions(many, onCut).length).toBeLessThan(270 * KIB);
});

test('settings of a server that are passed on as they are take 16 KiB', async () => {
  const tasks = { list: {}, pad: 'x'.repeat(16 * KIB) };
  const url = await start({ a: { capabilities: { tools: {}, tasks } }, b: { capabilities: { tasks: { list: {} } } } });
  const { result } = await told(`${url}/mcp`, 'initialize');
  expect(result?.['capabilities']).toEqual({ tools: { listChanged: true }, tasks: { list: {} } });
  expect(warned).toEqual([{ server: 'a' }]);
});

test('what clients are told alike is made once for each state of the servers', async () => {
  let made = 0;
  const capabilities = {
    get prompts() {
      made++;
      return {};
    },
  };
  const url = await start({ a: { capabilities, instructions: 'One.' } });
  const asked = ['initialize', 'server/discover'] as const;
  for (const path of ['/mcp', '/servers/a/mcp']) {
    const first = await Promise.all(asked.map((method) => told(url + path, method)));
    const before = made;
    const again = await Promise.all(asked.map((method) => told(url + path, method)));
    expect(again.map(({ result }) => result)).toEqual(first.map(({ result }) => result));
    expect(made).toBe(before);
  }
  pool.add('b', { instructions: 'Two.' });
  for (const method of asked)
    expect((await told(`${url}/mcp`, method)).instructions).toBe('# a\n\nOne.\n\n# b\n\nTwo.');
  // Another process of the same server, which says something else.
  pool.add('a', { instructions: 'Three.' });
  pool.remove('b');
  for (const method of asked) {
    expect((await told(`${url}/mcp`, method)).instructions).toBe('# a\n\nThree.');
    expect((await told(`${url}/servers/a/mcp`, method)).instructions).toBe('Three.');
  }
});

test('answers that are not read share what is in them, and count as held each', async () => {
  const url = `${await start({ one: { instructions: 'x'.repeat(16 * MIB) } })}/servers/one/mcp`;
  const before = collectGarbage();
  for (let i = 0; i < 4; i++) await askAndWait(url, 'initialize');
  for (let i = 0; i < 4; i++) await askAndWait(url, 'server/discover');
  // The text of each kind once: far from eight times 16 MiB.
  expect(collectGarbage() - before).toBeLessThan(64 * MIB);
  expect(gateway.stats.heldBytes).toBeGreaterThan(127 * MIB);
  for (const socket of sockets) socket.destroy();
  await expect.poll(() => gateway.stats.heldBytes).toBe(0);
});
