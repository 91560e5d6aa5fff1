import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { Gateway } from '../../../src/gateway/Gateway.js';
import { closeAfter } from '../../support/closeAfter.js';
import { FakePool } from '../../support/FakePool.js';

interface Answer {
  readonly id?: number;
  readonly result?: { readonly content?: unknown };
  readonly method?: string;
}

/** A client over two pipes. */
function client(gateway: Gateway, graceMs?: number) {
  const [input, output] = [new PassThrough(), new PassThrough()];
  const heard: Answer[] = [];
  let text = '';
  output.setEncoding('utf8').on('data', (chunk: string) => {
    const lines = (text + chunk).split('\n');
    text = lines.pop() ?? '';
    heard.push(...lines.map((line) => JSON.parse(line) as Answer));
  });
  const over = gateway.serveStdio({ input, output, path: '/servers/a/mcp', ...(graceMs !== undefined && { graceMs }) });
  const say = (message: object): unknown => input.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
  const end = async (): Promise<void> => {
    input.end();
    await over;
  };
  return { heard, say, end };
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
