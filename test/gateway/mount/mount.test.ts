import { once } from 'node:events';
import { type IncomingMessage, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { Client as ClientV2, StreamableHTTPClientTransport as TransportV2 } from '@modelcontextprotocol/client';
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { Transport as TransportOfV1 } from '@modelcontextprotocol/sdk/shared/transport.js';
import { Gateway } from 'mcp-poolkit/gateway';
import { StdioPool } from 'mcp-poolkit/pool';
import { expect, test, vi } from 'vitest';
import { serve as connect } from '../../../examples/mount/connect.js';
import { serve as express } from '../../../examples/mount/express.js';
import { serve as fastify } from '../../../examples/mount/fastify.js';
import { serve as hono } from '../../../examples/mount/hono.js';
import { serve as koa } from '../../../examples/mount/koa.js';
import { serve as nodeHttp } from '../../../examples/mount/node-http.js';
import { closeAfter } from '../../support/closeAfter.js';
import { everything } from '../../support/everything.js';
import { RawClient } from '../../support/httpClient.js';

// A process starts here, and the machine may be busy.
vi.setConfig({ testTimeout: 60_000 });
const PATIENT = { timeout: 30_000 };

const HOSTS: readonly (readonly [string, (gateway: Gateway) => Server | Promise<Server>, string])[] = [
  ['node:http', nodeHttp, ''],
  ['Express', express, '/tools'],
  ['Connect', connect, ''],
  ['Fastify', fastify, '/tools'],
  ['Koa', koa, '/tools'],
  ['Hono', hono, '/tools'],
];

/** What a browser would be shown. */
async function page(url: string): Promise<{ readonly status: number | undefined; readonly text: string }> {
  const outgoing = request(url, { agent: false });
  outgoing.end();
  const [incoming] = (await once(outgoing, 'response')) as [IncomingMessage];
  return { status: incoming.statusCode, text: await text(incoming) };
}

/** One gateway, mounted in a server of each framework. */
async function mounted() {
  const pool = closeAfter(new StdioPool({ ledger: false }));
  await pool.startServer(everything());
  const gateway = closeAfter(new Gateway({ pool }));
  const hosts = await Promise.all(
    HOSTS.map(async ([name, serve, prefix]) => {
      const server = await serve(gateway);
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      closeAfter({
        close: async () => {
          server.closeAllConnections();
          server.close();
          await once(server, 'close');
        },
      });
      const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      return { name, origin, url: `${origin}${prefix}` };
    }),
  );
  return { gateway, hosts };
}

test('the official clients call through every framework, with progress, beside what the host serves itself', async () => {
  const { hosts } = await mounted();
  for (const { name, origin, url } of hosts) {
    expect([name, (await page(`${origin}/`)).text]).toEqual([name, 'my own page']);
    const v2 = new ClientV2({ name: 'test', version: '1' });
    await v2.connect(new TransportV2(new URL(`${url}/mcp`)));
    expect((await v2.listTools()).tools.map((tool) => tool.name)).toContain('everything__echo');
    const echo = { name: 'everything__echo', arguments: { message: `hi ${name}` } };
    expect(JSON.stringify(await v2.callTool(echo))).toContain(`Echo: hi ${name}`);
    await v2.close();

    const v1 = new ClientV1({ name: 'test', version: '1' });
    const transport = new TransportV1(new URL(`${url}/servers/everything/mcp`));
    await v1.connect(transport as TransportOfV1);
    const progress: number[] = [];
    const call = { name: 'trigger-long-running-operation', arguments: { duration: 0.05, steps: 3 } };
    const done = await v1.callTool(call, undefined, { onprogress: (each) => progress.push(each.progress) });
    expect([name, progress]).toEqual([name, [1, 2, 3]]);
    expect(JSON.stringify(done)).toContain('completed');
    await transport.terminateSession();
    await v1.close();
  }
});

test('close answers what is in flight, whichever way it came, and refuses what comes after', async () => {
  const { gateway, hosts } = await mounted();
  const calls = await Promise.all(
    hosts.map(async ({ name, url }) => {
      const client = new RawClient(`${url}/servers/everything/mcp`);
      await client.initialize();
      const params = { name: 'trigger-long-running-operation', arguments: { duration: 0.3, steps: 1 } };
      return { name, url, answer: client.call('tools/call', params) };
    }),
  );
  await vi.waitFor(() => expect(gateway.stats.inFlight).toBe(hosts.length), PATIENT);
  const closed = gateway.close({ graceMs: 30_000 });
  for (const { name, url, answer } of calls) {
    const late = await new RawClient(`${url}/mcp`).send({ jsonrpc: '2.0', id: 1, method: 'ping' });
    expect([name, late.status]).toEqual([name, 503]);
    expect([name, JSON.stringify((await answer).result)]).toEqual([name, expect.stringContaining('completed')]);
  }
  await closed;
});

test('what is not for the gateway goes on to the host; without one it is answered 404, and so are unknown servers', async () => {
  const { hosts } = await mounted();
  const at = (name: string, path: string) => page(`${hosts.find((each) => each.name === name)?.origin}${path}`);
  expect(await at('Express', '/tools/other')).toMatchObject({ status: 404 });
  expect(await at('Connect', '/livez')).toEqual({ status: 200, text: 'my own page' });
  expect(await at('node:http', '/livez')).toMatchObject({ status: 200, text: expect.stringContaining('ok') });
  expect(await at('Hono', '/tools/other')).toMatchObject({ status: 404, text: expect.stringContaining('jsonrpc') });
  expect(await at('Fastify', '/tools/servers/none/mcp')).toMatchObject({ status: 404 });
});
