import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { Client as ModernClient, StreamableHTTPClientTransport as ModernHttp } from '@modelcontextprotocol/client';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import { expect, test } from 'vitest';
import { Gateway } from '../../../src/gateway/Gateway.js';
import { HttpLink } from '../../../src/gateway/stdio/HttpLink.js';
import { StdioBridge } from '../../../src/gateway/stdio/StdioBridge.js';
import { UnifiedPool } from '../../../src/pool/UnifiedPool.js';
import { closeAfter } from '../../support/closeAfter.js';
import { upstream } from '../../support/upstreams.js';

/** Large answers of servers over each transport come to official clients of both eras at each front. */

const PART = 64 * 1_024;
const BRIDGE = { maxMessageBytes: 1e6, maxStreamBufferBytes: 1e6, maxBufferedBytes: 1e6, stallTimeoutMs: 30_000 };
const SERVERS = ['stdio', 'json', 'events', 'sse'] as const;
/** Whose answers of 5 MB and of 10 MB a front gets: they take long. */
const LARGER: Readonly<Record<string, readonly [string, string?]>> = {
  http: ['events', 'stdio'],
  'http, modern': ['json'],
  'http+sse': ['stdio', 'sse'],
  serve: ['sse', 'json'],
  'serve, modern': ['stdio'],
  connect: ['events'],
};

const large = { call: ({ parts }: { readonly parts?: unknown }) => 'x'.repeat(PART * Number(parts)) };

/** The client's end of two pipes; the SDK's of servers takes any. */
function pipes(run: (input: PassThrough, output: PassThrough) => Promise<void>): Transport {
  const [input, output] = [new PassThrough(), new PassThrough()];
  const over = run(input, output);
  closeAfter({
    close: async () => {
      input.end();
      await over;
    },
  });
  return new StdioServerTransport(output, input, { maxBufferSize: 64e6 });
}

test('large answers come whole from servers over each transport to clients at each front', async () => {
  const pool = closeAfter(new UnifiedPool({ ledger: false }));
  const json = await upstream('json', { tools: { large } });
  const events = await upstream('events', { tools: { large }, answers: 'events', era: 'legacy' });
  const file = join(import.meta.dirname, '../../fixtures/large-server.mjs');
  pool.addServer({ name: 'stdio', transport: 'stdio', command: process.execPath, args: [file] });
  pool.addServer({ name: 'json', url: json.url });
  pool.addServer({ name: 'events', url: events.url });
  pool.addServer({ name: 'sse', transport: 'sse', url: json.sseUrl });
  const gateway = closeAfter(new Gateway({ pool, port: 0, sse: true }));
  const at = new URL('/mcp', (await gateway.listen()).url);
  const bridge = (input: PassThrough, output: PassThrough): Promise<void> =>
    new StdioBridge({ ...BRIDGE, input, output, url: at, link: new HttpLink({ url: at }), graceMs: 0 }).run();
  const serve = (): Transport => pipes((input, output) => gateway.serveStdio({ input, output }));
  const legacy = { name: 'legacy', version: '1' };
  const modern = () =>
    new ModernClient({ name: 'modern', version: '1' }, { versionNegotiation: { mode: { pin: '2026-07-28' } } });
  const fronts = [
    ['http', new Client(legacy), new StreamableHTTPClientTransport(at)],
    ['http, modern', modern(), new ModernHttp(at)],
    ['http+sse', new Client(legacy), new SSEClientTransport(new URL('/sse', at))],
    ['serve', new Client(legacy), serve()],
    ['serve, modern', modern(), serve()],
    ['connect', new Client(legacy), pipes(bridge)],
  ] as const;
  const outcomes: Record<string, unknown> = {};
  const expected: typeof outcomes = {};
  for (const [front, client, transport] of fronts) {
    await client.connect(transport as never);
    closeAfter(client);
    for (const server of SERVERS) {
      const [at5MB, at10MB] = LARGER[front] ?? [];
      for (const parts of [5, ...(server === at5MB ? [80] : []), ...(server === at10MB ? [160] : [])]) {
        const cell = `${parts * PART} bytes, ${server} server, ${front} client`;
        const asked = client.callTool({ name: `${server}__large`, arguments: { parts } });
        const answer = asked.then(({ content }) => (content as [{ text: string }])[0].text.length, String);
        expected[cell] = parts * PART;
        outcomes[cell] = await answer;
      }
    }
  }
  expect(outcomes).toEqual(expected);
}, 60_000);
