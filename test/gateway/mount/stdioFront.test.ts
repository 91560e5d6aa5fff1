import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { PassThrough } from 'node:stream';
import { json } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { Gateway } from '../../../src/gateway/Gateway.js';
import { UnifiedPool } from '../../../src/pool/UnifiedPool.js';
import { closeAfter } from '../../support/closeAfter.js';
import { FakePool } from '../../support/FakePool.js';

interface Answer {
  readonly id?: number | string | null;
  readonly result?: { readonly content?: unknown };
  readonly method?: string;
}

/** A client over two pipes. */
function client(gateway: Gateway, graceMs?: number) {
  const [input, output] = [new PassThrough(), new PassThrough()];
  const heard: Answer[] = [];
  const lines: string[] = [];
  let text = '';
  output.setEncoding('utf8').on('data', (chunk: string) => {
    const whole = (text + chunk).split('\n');
    text = whole.pop() ?? '';
    lines.push(...whole);
    heard.push(...whole.flatMap((line) => JSON.parse(line) as Answer | Answer[]));
  });
  const over = gateway.serveStdio({ input, output, path: '/servers/a/mcp', ...(graceMs !== undefined && { graceMs }) });
  const write = (message: object): unknown => input.write(`${JSON.stringify(message)}\n`);
  const say = (message: object): unknown => write({ jsonrpc: '2.0', ...message });
  const end = async (): Promise<void> => {
    input.end();
    await over;
  };
  return { heard, lines, say, write, end };
}

test('a session over stdio lasts, with many calls at once, and Node warns of nothing', async () => {
  const warned: string[] = [];
  const onWarning = ({ message }: Error): void => void warned.push(message);
  process.on('warning', onWarning);
  closeAfter({ close: async () => void process.off('warning', onWarning) });
  let calls = 0;
  let release: () => void = () => undefined;
  const all = new Promise<void>((resolve) => {
    release = resolve;
  });
  const tool = async (): Promise<object> => {
    if (++calls === 20) release();
    await all;
    return { content: [{ type: 'text', text: 'x'.repeat(1_000) }] };
  };
  const pool = new FakePool({ a: { capabilities: { tools: {} }, methods: { 'tools/call': tool } } });
  const { heard, say, end } = client(closeAfter(new Gateway({ pool, port: 0 })));
  const clientInfo = { name: 'pipe', version: '1' };
  say({ id: 0, method: 'initialize', params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo } });
  await expect.poll(() => heard.length).toBe(1);
  say({ method: 'notifications/initialized' });
  for (let id = 1; id <= 20; id++) say({ id, method: 'tools/call', params: { name: 'say' } });
  await expect.poll(() => heard.length).toBe(21);
  expect(heard.slice(1).every(({ result }) => result?.content !== undefined)).toBe(true);
  await end();
  // No other session was opened in place of one that was lost.
  expect(heard.filter(({ method }) => method !== undefined)).toEqual([]);
  expect(warned).toEqual([]);
});

test.each(['cancels', 'leaves'])('a client that %s ends its call in flight, and nothing of it stays', async (what) => {
  const pool = new FakePool({
    a: { capabilities: { tools: {} }, methods: { 'tools/call': () => new Promise(() => undefined) } },
  });
  const gateway = closeAfter(new Gateway({ pool, port: 0 }));
  const { say, end } = client(gateway, 0);
  const _meta = {
    'io.modelcontextprotocol/protocolVersion': '2026-07-28',
    'io.modelcontextprotocol/clientCapabilities': {},
    'io.modelcontextprotocol/clientInfo': { name: 'pipe', version: '1' },
  };
  say({ id: 1, method: 'tools/call', params: { name: 'say', _meta } });
  const signals = () => pool.calls.filter(({ method }) => method === 'tools/call').map(({ options }) => options.signal);
  await expect.poll(signals).toHaveLength(1);
  if (what === 'cancels') say({ method: 'notifications/cancelled', params: { requestId: 1 } });
  else await end();
  await expect.poll(() => signals()[0]?.aborted).toBe(true);
  await expect.poll(() => gateway.stats).toMatchObject({ inFlight: 0, connections: 0, heldBytes: 0 });
  await end();
});

test('an answer of any length is one', async () => {
  const text = 'x'.repeat(600_000);
  const tool = (): object => ({ content: [{ type: 'text', text }] });
  const pool = new FakePool({ a: { capabilities: { tools: {} }, methods: { 'tools/call': tool } } });
  const { heard, say, end } = client(closeAfter(new Gateway({ pool, port: 0 })));
  const clientInfo = { name: 'pipe', version: '1' };
  say({ id: 0, method: 'initialize', params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo } });
  await expect.poll(() => heard.length).toBe(1);
  say({ id: 1, method: 'tools/call', params: { name: 'say' } });
  await expect.poll(() => heard.length).toBe(2);
  expect(heard[1]).toEqual({ jsonrpc: '2.0', id: 1, result: tool() });
  await end();
});

test('the requests of an array are answered, with progress and without', async () => {
  const tool = async (_: unknown, { onProgress }: { readonly onProgress?: (progress: object) => void }) => {
    onProgress?.({ progress: 1 });
    return { content: [] };
  };
  const pool = new FakePool({ a: { capabilities: { tools: {} }, methods: { 'tools/call': tool as never } } });
  const { heard, say, end, write } = client(closeAfter(new Gateway({ pool, port: 0 })));
  const clientInfo = { name: 'pipe', version: '1' };
  say({ id: 0, method: 'initialize', params: { protocolVersion: '2025-03-26', capabilities: {}, clientInfo } });
  await expect.poll(() => heard.length).toBe(1);
  for (const _meta of [{}, { progressToken: 7 }]) {
    const before = heard.length;
    const params = { name: 'say', _meta };
    write([...['a', 2].map((id) => ({ jsonrpc: '2.0', id, method: 'tools/call', params })), { jsonrpc: '2.0', id: 3 }]);
    const answers = () => heard.slice(before).filter(({ id }) => id !== undefined);
    await expect.poll(() => answers().map(({ id }) => id)).toHaveLength(3);
    expect(new Set(answers().map(({ id }) => id))).toEqual(new Set(['a', 2, 3]));
  }
  write([]);
  await expect.poll(() => heard.at(-1)).toMatchObject({ id: null, error: { code: -32_600 } });
  await end();
});

test('no server can end a line to the client within the data of an error, and begin a message of its own', async () => {
  const injected = '{"jsonrpc":"2.0","method":"notifications/x.example/injected"}';
  const data = `{"z":1.0,"a":[\r\n${injected}\n],"e":"\u2028\u0085"}`;
  const server = createServer(async (request, response) => {
    if (request.method !== 'POST') return response.writeHead(405).end();
    const { id, method } = (await json(request)) as { id?: number; method?: string };
    if (id === undefined) return response.writeHead(202).end();
    const result = {
      protocolVersion: '2025-11-25',
      capabilities: { tools: {} },
      serverInfo: { name: 'b', version: '1' },
    };
    const said =
      method === 'initialize'
        ? `"result":${JSON.stringify(result)}`
        : `"error":{"code":-1,"message":"no",\n"data":${data}}`;
    return response.setHeader('content-type', 'application/json').end(`{"jsonrpc":"2.0","id":${id},${said}}`);
  }).listen(0, '127.0.0.1');
  closeAfter({ close: async () => void server.close() });
  await once(server, 'listening');
  const pool = closeAfter(new UnifiedPool({ ledger: false }));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`;
  pool.addServer({ name: 'a', transport: 'http', url, era: 'legacy' });
  const { heard, lines, say, end } = client(closeAfter(new Gateway({ pool, port: 0 })));
  const clientInfo = { name: 'pipe', version: '1' };
  say({ id: 0, method: 'initialize', params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo } });
  await expect.poll(() => heard.length).toBe(1);
  say({ id: 1, method: 'tools/call', params: { name: 'say' } });
  await expect.poll(() => heard.length).toBe(2);
  const onOneLine = `"data":{"z":1.0,"a":[ ${injected} ],"e":"\\u2028\\u0085"}`;
  expect(lines[1]).toContain(onOneLine);
  await end();
});
