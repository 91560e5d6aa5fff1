import { Client as ClientV2, StreamableHTTPClientTransport as TransportV2 } from '@modelcontextprotocol/client';
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { Transport as TransportOfV1 } from '@modelcontextprotocol/sdk/shared/transport.js';
import { expect, test, vi } from 'vitest';
import { Cli } from '../support/cli.js';
import { RawClient } from '../support/httpClient.js';

// Programs start here, several at once, and the machine may be busy.
vi.setConfig({ testTimeout: 60_000 });

interface Progress {
  readonly progress: number;
  readonly total?: number | undefined;
}

/** What both of the official clients can do, in one shape. */
interface Face {
  tools(): Promise<string[]>;
  call(name: string, args: Record<string, unknown>, onProgress?: (progress: Progress) => void): Promise<unknown>;
  close(): Promise<void>;
}

const serving = async (): Promise<{ cli: Cli; url: string }> => {
  const cli = new Cli('serve', '--config', 'examples/mcp.json', '--port', '0', '--json');
  return { cli, url: String((await cli.event('ready'))['url']) };
};

const end = async (cli: Cli): Promise<void> => {
  cli.kill('SIGTERM');
  expect(await cli.exited).toEqual({ code: 0, signal: null });
};

async function v2(url: string): Promise<Face> {
  const client = new ClientV2({ name: 'test', version: '1' });
  const transport = new TransportV2(new URL(url));
  await client.connect(transport);
  return {
    tools: async () => (await client.listTools()).tools.map(({ name }) => name),
    call: (name, args, onProgress) =>
      client.callTool({ name, arguments: args }, onProgress === undefined ? {} : { onprogress: onProgress }),
    close: async () => {
      await transport.terminateSession();
      await client.close();
    },
  };
}

async function v1(url: string): Promise<Face> {
  const client = new ClientV1({ name: 'test', version: '1' });
  const transport = new TransportV1(new URL(url));
  await client.connect(transport as TransportOfV1);
  return {
    tools: async () => (await client.listTools()).tools.map(({ name }) => name),
    call: (name, args, onProgress) =>
      client.callTool({ name, arguments: args }, undefined, onProgress === undefined ? {} : { onprogress: onProgress }),
    close: async () => {
      await transport.terminateSession();
      await client.close();
    },
  };
}

const said = (text: unknown) => ({ content: [{ type: 'text', text }] });

async function works(connect: (url: string) => Promise<Face>, url: string): Promise<void> {
  const all = await connect(`${url}/mcp`);
  const tools = await all.tools();
  for (const each of ['everything__echo', 'everything__get-sum', 'filesystem__read_text_file']) {
    expect(tools).toContain(each);
  }
  const [everything, filesystem] = await Promise.all([
    connect(`${url}/servers/everything/mcp`),
    connect(`${url}/servers/filesystem/mcp`),
  ]);
  const prefixed = async (prefix: string, face: Face) => (await face.tools()).map((each) => `${prefix}__${each}`);
  expect(tools).toEqual([...(await prefixed('everything', everything)), ...(await prefixed('filesystem', filesystem))]);
  expect(await filesystem.call('read_text_file', { path: 'hello.txt' })).toMatchObject(
    said(expect.stringContaining('Hello from a file')),
  );
  for (const [face, prefix] of [[all, 'everything__'] as const, [everything, ''] as const]) {
    expect(await face.call(`${prefix}echo`, { message: 'hi' })).toMatchObject(said('Echo: hi'));
    expect(await face.call(`${prefix}get-sum`, { a: 2, b: 40 })).toMatchObject(said(expect.stringContaining('42')));
    const progress: Progress[] = [];
    const long = face.call(`${prefix}trigger-long-running-operation`, { duration: 0.4, steps: 4 }, (each) => {
      progress.push(each);
    });
    expect(await long).toMatchObject(said(expect.stringContaining('completed')));
    expect(progress.map((each) => [each.progress, each.total])).toEqual([1, 2, 3, 4].map((step) => [step, 4]));
  }
  await Promise.all([all.close(), everything.close(), filesystem.close()]);
}

test('the official clients v1 and v2 list all tools and call them, with progress', async () => {
  const { cli, url } = await serving();
  await works(v2, url);
  await works(v1, url);
  await end(cli);
});

test('200 echo calls at once each get their own answer, for one client and for many', async () => {
  const { cli, url } = await serving();
  const one = new RawClient(`${url}/mcp`);
  await one.initialize();
  const clients = await Promise.all(
    Array.from({ length: 20 }, async () => {
      const client = new RawClient(`${url}/servers/everything/mcp`);
      await client.initialize();
      return client;
    }),
  );
  const echo = async (client: RawClient, name: string, message: string) =>
    (await client.call('tools/call', { name, arguments: { message } })).result;
  const messages = Array.from({ length: 200 }, (_, i) => `message ${i}`);
  const answers = messages.map((message) => said(`Echo: ${message}`));
  expect(await Promise.all(messages.map((each) => echo(one, 'everything__echo', each)))).toEqual(answers);
  // Each client counts its ids from 1: twenty calls at a time share an id.
  const many = messages.map((each, i) => echo(clients[i % 20] ?? one, 'echo', each));
  expect(await Promise.all(many)).toEqual(answers);
  await end(cli);
});
