import { expect, test } from 'vitest';
import type { EraFinding } from '../../../src/connection/protocol/era.js';
import { StartError } from '../../../src/core/errors.js';
import { openHttp } from '../../support/httpServers.js';
import { call, failure } from '../../support/rawCalls.js';
import { type Exchange, RawServer, said } from '../../support/rawServer.js';

function memory(known?: EraFinding) {
  const kept: EraFinding[] = [];
  return { kept, get: async () => known, set: async (finding: EraFinding) => void kept.push(finding) };
}

/** A legacy server that answers `server/discover` so. */
function legacyThat(discover: (exchange: Exchange) => void) {
  return RawServer.listen({
    before: (exchange) => {
      if (exchange.message?.method !== 'server/discover') return false;
      discover(exchange);
      return true;
    },
  });
}

const rpc =
  (status: number, code: number, data?: unknown) =>
  ({ json, message }: Exchange): void =>
    json({ jsonrpc: '2.0', id: message.id, error: { code, message: 'm', data } }, status);

const status =
  (code: number) =>
  ({ res }: Exchange): void =>
    void res.writeHead(code).end();

test('evidence of the legacy era leads to initialize, and is remembered', async () => {
  for (const discover of [
    rpc(400, -32000),
    rpc(404, -32601),
    rpc(200, -32601),
    rpc(200, -32602),
    rpc(400, -32022, { supported: ['2025-11-25'] }),
    // Some servers answer every method, and say nothing of versions.
    ...[{}, { capabilities: { tools: {} } }, { supportedVersions: [] }, { supportedVersions: '2026-07-28' }, null].map(
      (result) =>
        ({ json, message }: Exchange): void =>
          json({ jsonrpc: '2.0', id: message.id, result }),
    ),
    ({ res }: Exchange) => void res.writeHead(405).end(),
    ({ res }: Exchange) => void res.writeHead(404, { 'content-type': 'text/html' }).end('<h1>nope</h1>'),
  ]) {
    const server = await legacyThat(discover);
    const eraMemory = memory();
    const connection = await openHttp(server.url, { eraMemory });
    expect(connection.info.era).toBe('legacy');
    expect(eraMemory.kept).toMatchObject([{ era: 'legacy' }]);
    expect(await call(connection, 'echo', { text: 'x' })).toEqual(said('x'));
    expect(server.of('tools/call')[0]?.message.params._meta).toBeUndefined();
    expect(server.of('tools/call')[0]?.headers).toMatchObject({ 'mcp-protocol-version': '2025-11-25' });
  }
});

test('401, 429 and modern errors lead to no initialize: nothing is tried or remembered', async () => {
  for (const discover of [status(401), status(429), rpc(400, -32020), rpc(500, -32021)]) {
    const server = await legacyThat(discover);
    const eraMemory = memory();
    expect(await failure(openHttp(server.url, { eraMemory }))).toBeInstanceOf(StartError);
    expect(server.initialises).toBe(0);
    expect(eraMemory.kept).toEqual([]);
  }
});

test('an answer that is no evidence, and none at all, lead to initialize, and nothing is remembered', async () => {
  for (const discover of [
    ...[202, 204, 403, 408, 500, 501, 503].map(status),
    rpc(500, -32603),
    ({ res }: Exchange) => void res.writeHead(200, { 'content-type': 'text/html' }).end('<p>welcome'),
    ({ res }: Exchange) => void res.writeHead(200, { 'content-type': 'text/event-stream' }).end(),
    ({ req }: Exchange) => void req.socket.destroy(),
  ]) {
    const server = await legacyThat(discover);
    const eraMemory = memory();
    const connection = await openHttp(server.url, { eraMemory });
    expect(connection.info.era).toBe('legacy');
    expect(eraMemory.kept).toEqual([]);
    expect(await call(connection, 'echo', { text: 'x' })).toEqual(said('x'));
  }
});

test('a server that fails both first requests is told by what it failed initialize with', async () => {
  const statuses = new Map([
    ['server/discover', 500],
    ['initialize', 401],
  ]);
  const server = await RawServer.listen({
    before: ({ message, res }) => {
      res.writeHead(statuses.get(message?.method) ?? 400).end();
      return true;
    },
  });
  expect(await failure(openHttp(server.url))).toMatchObject({
    constructor: StartError,
    cause: { code: 'ERR_UNAUTHORIZED' },
  });
  expect(server.seen.map(({ message }) => message.method)).toEqual(['server/discover', 'initialize']);
});

test('a modern server that was only busy is asked again', async () => {
  let asked = 0;
  const busy = await RawServer.listen({
    era: 'modern',
    before: (exchange) => {
      if (exchange.message?.method === 'initialize') rpc(404, -32601)(exchange);
      else if (exchange.message?.method === 'server/discover' && ++asked === 1) status(503)(exchange);
      else return false;
      return true;
    },
  });
  expect((await openHttp(busy.url)).info.era).toBe('modern');
});

test('a server that answers no method it does not know is asked for initialize within the time of the start', async () => {
  const server = await legacyThat(() => undefined);
  const eraMemory = memory();
  const connection = await openHttp(server.url, { eraMemory, startTimeoutMs: 900 });
  expect(connection.info.era).toBe('legacy');
  expect(await call(connection, 'echo', { text: 'x' })).toEqual(said('x'));
  // Silence is no evidence.
  expect(eraMemory.kept).toEqual([]);
});

test('a modern server that was only slow is asked again; one that answers nothing is told as such', async () => {
  let asked = 0;
  const slow = await RawServer.listen({
    era: 'modern',
    before: ({ message, json }) => {
      if (message?.method === 'initialize')
        json({ jsonrpc: '2.0', id: message.id, error: { code: -32601, message: 'no' } });
      else return message?.method === 'server/discover' && ++asked === 1;
      return true;
    },
  });
  const connection = await openHttp(slow.url, { startTimeoutMs: 900 });
  expect(connection.info.era).toBe('modern');
  const silent = await RawServer.listen({ before: () => true });
  expect(await failure(openHttp(silent.url, { startTimeoutMs: 300 }))).toMatchObject({
    constructor: StartError,
    message: expect.stringMatching(/server\/discover|not ready within/),
  });
});

test('a server that refuses the newest version and names others is asked again at the newest of those', async () => {
  for (const [status, code, message, data] of [
    [400, -32000, 'Bad Request: Unsupported protocol version (supported versions: 2025-03-26, 2025-06-18, 2024-11-05)'],
    [200, -32602, 'Unsupported protocol version', { supported: ['2025-06-18', '2024-11-05'], requested: '2025-11-25' }],
    [200, -32602, 'Unsupported', ['2025-06-18']],
    // No JSON-RPC: the text of `http.Error`, and an object of a framework's.
    [400, 0, 'Bad Request: Unsupported protocol version (supported versions: 2025-06-18,2025-03-26,2024-11-05)'],
    [400, 0, { error: 'Unsupported protocol version. Supported: 2025-06-18' }],
  ] as const) {
    const server = await RawServer.listen({
      before: (exchange) => {
        const asked = exchange.message?.params?.protocolVersion;
        if (exchange.message?.method !== 'initialize' || asked <= '2025-06-18') return false;
        if (code !== 0) exchange.json({ jsonrpc: '2.0', id: null, error: { code, message, data } }, status);
        else if (typeof message === 'object') exchange.json(message, status);
        else exchange.res.writeHead(status, { 'content-type': 'text/plain' }).end(message);
        return true;
      },
    });
    const connection = await openHttp(server.url, { era: 'legacy' });
    expect(server.of('initialize').map((each) => each.message.params.protocolVersion)).toEqual([
      '2025-11-25',
      '2025-06-18',
    ]);
    expect(await call(connection, 'echo', { text: 'x' })).toEqual(said('x'));
    expect(server.of('tools/call')[0]?.headers).toMatchObject({ 'mcp-protocol-version': '2025-06-18' });
  }
});

test('a refusal that names no version we speak stands, with its words', async () => {
  const server = await RawServer.listen({
    before: (exchange) => {
      if (exchange.message?.method !== 'initialize') return false;
      rpc(200, -32602, { supported: ['1999-01-01', {}, null] })(exchange);
      return true;
    },
  });
  expect(await failure(openHttp(server.url, { era: 'legacy' }))).toBeInstanceOf(StartError);
  expect(server.initialises).toBe(0);
  expect(server.of('initialize').length).toBe(1);
});

test('a modern server that asks for another version it names is asked again at that one', async () => {
  let refused = 0;
  const server = await RawServer.listen({
    era: 'modern',
    before: (exchange) => {
      if (exchange.message?.method !== 'server/discover' || refused++ > 0) return false;
      rpc(400, -32022, { supported: ['2026-07-28'] })(exchange);
      return true;
    },
  });
  const connection = await openHttp(server.url);
  expect(connection.info).toMatchObject({ era: 'modern', protocolVersion: '2026-07-28' });
  expect(server.of('server/discover')).toHaveLength(2);
});

test('a legacy verdict spares the question while it is fresh, and is revised when it proves wrong', async () => {
  const server = await RawServer.listen();
  await openHttp(server.url, { eraMemory: memory({ era: 'legacy', at: Date.now() }) });
  expect(server.of('server/discover')).toHaveLength(0);
  await openHttp(server.url, { eraMemory: memory({ era: 'legacy', at: Date.now() - 2 * 24 * 3_600_000 }) });
  expect(server.of('server/discover')).toHaveLength(1);
  const upgraded = await RawServer.listen({
    era: 'modern',
    before: (exchange) => {
      if (exchange.message?.method !== 'initialize') return false;
      rpc(404, -32601)(exchange);
      return true;
    },
  });
  const eraMemory = memory({ era: 'legacy', at: Date.now() });
  expect((await openHttp(upgraded.url, { eraMemory })).info.era).toBe('modern');
  expect(eraMemory.kept).toMatchObject([{ era: 'modern', version: '2026-07-28' }]);
});

test('a memory that fails does not stop the start', async () => {
  const server = await RawServer.listen({ era: 'modern' });
  const broken = () => Promise.reject(new Error('disk'));
  expect((await openHttp(server.url, { eraMemory: { get: broken, set: broken } })).info.era).toBe('modern');
});

test('modern requests say in headers what they are, and hand back input_required as it is', async () => {
  const server = await RawServer.listen({
    era: 'modern',
    tools: {
      asks: ({ json, message }) =>
        json({
          jsonrpc: '2.0',
          id: message.id,
          result: { resultType: 'input_required', requestState: 's', inputRequests: {} },
        }),
    },
  });
  const connection = await openHttp(server.url, { era: 'modern', capabilities: { elicitation: {} } });
  expect(await call(connection, 'asks')).toEqual({
    resultType: 'input_required',
    requestState: 's',
    inputRequests: {},
  });
  await failure(connection.request('resources/read', { uri: 'file:///ä' }, {}));
  await failure(connection.request('prompts/get', { name: 'p', _meta: { traceparent: 't' } }, {}));
  const [asks, read, prompt] = server.seen.slice(-3);
  expect(asks?.headers).toMatchObject({
    'mcp-protocol-version': '2026-07-28',
    'mcp-method': 'tools/call',
    'mcp-name': 'asks',
  });
  expect(read?.headers['mcp-name']).toBe(`=?base64?${Buffer.from('file:///ä').toString('base64')}?=`);
  expect(prompt?.message.params._meta).toMatchObject({
    traceparent: 't',
    'io.modelcontextprotocol/protocolVersion': '2026-07-28',
    'io.modelcontextprotocol/clientCapabilities': { elicitation: {} },
  });
  expect(server.of('GET')).toHaveLength(0);
  expect(server.seen.every((each) => each.headers['mcp-session-id'] === undefined)).toBe(true);
});
