import { expect, test, vi } from 'vitest';
import { Gateway } from '../../src/gateway/Gateway.js';
import { UnifiedPool } from '../../src/pool/UnifiedPool.js';
import type { ServerConfig, Sharing } from '../../src/registry/config/ServerConfig.js';
import { closeAfter } from '../support/closeAfter.js';
import { FakePool } from '../support/FakePool.js';
import { exchange, type Message, RawClient } from '../support/httpClient.js';
import { RawServer } from '../support/rawServer.js';
import { fixture } from '../support/servers.js';

// Programs start here, and the machine may be busy.
vi.setConfig({ testTimeout: 60_000 });

const META = 'io.modelcontextprotocol';
const LEVELS = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency'];

interface Heard {
  /** Level and caller of each line. */
  readonly lines: readonly string[];
  /** What the server was told so far. */
  readonly told: readonly string[];
}

async function gateway(config: ServerConfig) {
  const pool = closeAfter(new UnifiedPool({ ledger: false }));
  pool.addServer(config);
  const own = closeAfter(new Gateway({ pool, port: 0 }));
  return { pool, url: (await own.listen()).url };
}

const stdio = (sharing: Sharing, ...args: string[]): ServerConfig => ({
  name: 's',
  transport: 'stdio',
  command: process.execPath,
  args: [fixture('levels-server.mjs'), ...args],
  sharing,
});

function heard(messages: readonly Message[]): Heard {
  const lines = messages.flatMap(({ method, params }) =>
    method === 'notifications/message' ? [`${params?.['level']} ${params?.['data']}`] : [],
  );
  const { told } = messages.find(({ result }) => result !== undefined)?.result ?? {};
  return { lines, told: told as string[] };
}

/** A call of a modern client, which wants to be told `logLevel`. */
const modern = async (url: string, who: string, logLevel?: string, ms = 0): Promise<Heard> =>
  heard(await modernCall(url, who, logLevel, ms));

async function modernCall(url: string, who: string, logLevel?: string, ms = 0): Promise<readonly Message[]> {
  const name = url.endsWith('/servers/s/mcp') ? 'log' : 's__log';
  const _meta = {
    [`${META}/protocolVersion`]: '2026-07-28',
    [`${META}/clientCapabilities`]: {},
    ...(logLevel && { [`${META}/logLevel`]: logLevel }),
  };
  const { messages } = await exchange(url, {
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': 'tools/call',
      'mcp-name': name,
    },
    body: JSON.stringify({
      jsonrpc: '2.0',
      id: 1,
      method: 'tools/call',
      params: { name, arguments: { who, ms }, _meta },
    }),
  });
  return messages;
}

async function legacy(url: string, level?: string) {
  const client = new RawClient(url);
  await client.initialize();
  if (level !== undefined) await client.call('logging/setLevel', { level });
  return async (who: string, ms = 0): Promise<Heard> => {
    const params = { name: 'log', arguments: { who, ms } };
    return heard((await client.send({ jsonrpc: '2.0', id: 9, method: 'tools/call', params })).messages);
  };
}

const from = (level: string, who: string): string[] =>
  LEVELS.slice(LEVELS.indexOf(level)).map((each) => `${each} ${who}`);

for (const [front, sharing] of [
  ['/servers/s/mcp', 'shared'],
  ['/mcp', 'bound'],
] as const) {
  test(`a modern client has a ${sharing} legacy server log what it asks for, at ${front}`, async () => {
    const { url } = await gateway(stdio(sharing));
    expect(await modern(url + front, 'a')).toEqual({ lines: [], told: [] });
    expect(await modern(url + front, 'b', 'error')).toEqual({ lines: from('error', 'b'), told: ['error'] });
    const shared = sharing === 'shared';
    const more = await modern(url + front, 'c', 'debug');
    expect(more).toEqual({ lines: from('debug', 'c'), told: shared ? ['error', 'debug'] : ['debug'] });
    // It was told once, and says more than this one asks for.
    const less = await modern(url + front, 'd', 'alert');
    expect(less).toEqual({ lines: from('alert', 'd'), told: shared ? ['error', 'debug'] : ['alert'] });
    expect((await modern(url + front, 'e')).lines).toEqual([]);
  });
}

test('with several calls in flight on one pipe no client is told another’s lines', async () => {
  const { url, pool } = await gateway(stdio('shared'));
  const path = `${url}/servers/s/mcp`;
  const old = await legacy(path, 'debug');
  const first = modern(path, 'first', 'debug', 300);
  await vi.waitFor(() => expect(pool.stats('s').inFlight).toBe(1), { interval: 1 });
  const others = await Promise.all([modern(path, 'second', 'debug', 300), old('third', 300)]);
  const all = [...(await first).lines, ...others.flatMap(({ lines }) => lines)];
  // Those of the first were said while it was alone.
  expect(all.filter((line) => !line.endsWith('first'))).toEqual([]);
});

test('a server that takes no level answers calls all the same, and is asked once', async () => {
  const { url } = await gateway(stdio('shared', '--refuse'));
  await modern(`${url}/mcp`, 'a', 'error');
  expect((await modern(`${url}/mcp`, 'b', 'error')).told).toEqual(['error']);
});

test('a call whose server dies of what was asked ahead of it is told that it was not sent', async () => {
  const { url } = await gateway(stdio('bound', '--mortal'));
  const [answer] = await modernCall(`${url}/servers/s/mcp`, 'a', 'error');
  expect(answer?.error?.data).toMatchObject({ code: 'ERR_NOT_SENT', retryable: true });
});

test('over Streamable HTTP each hears its own call as far as it asked, whatever others had the server log', async () => {
  const told: string[] = [];
  const server = await RawServer.listen({
    before: ({ message, json, sse, event, res }) => {
      const answer = (result: object): void => json({ jsonrpc: '2.0', id: message.id, result });
      if (message?.method === 'initialize') {
        const serverInfo = { name: 'raw', version: '1' };
        answer({ protocolVersion: '2025-11-25', capabilities: { tools: {}, logging: {} }, serverInfo });
      } else if (message?.method === 'logging/setLevel') {
        told.push(message.params.level);
        answer({});
      } else if (message?.method === 'tools/list') {
        answer({ tools: [{ name: 'log', inputSchema: { type: 'object' } }] });
      } else if (message?.method === 'tools/call') {
        const { who } = message.params.arguments;
        sse();
        for (const level of LEVELS.slice(LEVELS.indexOf(told.at(-1) ?? 'emergency'))) {
          event({ jsonrpc: '2.0', method: 'notifications/message', params: { level, data: who } });
        }
        event({ jsonrpc: '2.0', id: message.id, result: { content: [], told } });
        res.end();
      } else return false;
      return true;
    },
  });
  const { url } = await gateway({ name: 's', transport: 'http', url: server.url });
  const path = `${url}/servers/s/mcp`;
  const old = await legacy(path, 'error');
  const [a, b, c, d] = await Promise.all([
    modern(path, 'a', 'info'),
    modern(path, 'b', 'alert'),
    modern(path, 'c'),
    old('d'),
  ]);
  for (const line of a.lines) expect(from('info', 'a')).toContain(line);
  for (const line of b.lines) expect(from('alert', 'b')).toContain(line);
  expect(c.lines).toEqual([]);
  for (const line of d.lines) expect(from('error', 'd')).toContain(line);
  // Once it has been told, it is all that each asked for.
  expect((await modern(path, 'a', 'info')).lines).toEqual(from('info', 'a'));
  expect((await modern(path, 'b', 'alert')).lines).toEqual(from('alert', 'b'));
  expect((await old('d')).lines).toEqual(from('error', 'd'));
  expect(told.filter((level) => level === 'info')).toHaveLength(1);
});

test('a session that names levels without end has a server told one at a time, and the newest in the end', async () => {
  const told: unknown[] = [];
  let answer = (): void => undefined;
  const pool = new FakePool({
    one: {
      capabilities: { tools: {}, logging: {} },
      methods: {
        'logging/setLevel': (params) => {
          told.push(params?.['level']);
          return new Promise((resolve) => (answer = () => resolve({})));
        },
      },
    },
  });
  const own = closeAfter(new Gateway({ pool, port: 0 }));
  const client = new RawClient(`${(await own.listen()).url}/mcp`);
  await client.initialize();
  const levels = [...LEVELS, ...LEVELS, 'alert'];
  const asked = levels.map((level) => client.call('logging/setLevel', { level }));
  // All of them have come then.
  await client.call('ping');
  let done = false;
  void Promise.all(asked).then(() => (done = true));
  await vi.waitFor(() => {
    answer();
    expect(done).toBe(true);
  });
  expect(told.at(-1)).toBe('alert');
  expect(told.length).toBeLessThan(5);
});
