import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import { ListRootsRequestSchema, ListTasksResultSchema } from '@modelcontextprotocol/sdk/types.js';
import { expect, test } from 'vitest';
import { Gateway } from '../../src/gateway/Gateway.js';
import { HTTPClientPool } from '../../src/pool/HTTPClientPool.js';
import { closeAfter } from '../support/closeAfter.js';
import { FakePool } from '../support/FakePool.js';
import { type Exchange, RawServer, said } from '../support/rawServer.js';

/** What an official client gets of a server behind `/mcp` whose answers, on a stream, are odd: it takes no odd one for an answer, and waits on. */

async function clientOf(pool: HTTPClientPool | FakePool): Promise<Client> {
  const gateway = closeAfter(new Gateway({ pool, port: 0 }));
  const { url } = await gateway.listen();
  const client = new Client({ name: 'c', version: '1' }, { capabilities: { roots: {} } });
  client.setRequestHandler(ListRootsRequestSchema, ({ params }, { requestId }) => {
    const answer = params?._meta?.['answer'];
    if (answer === undefined) return { roots: [] };
    void client.transport?.send({ jsonrpc: '2.0', id: requestId, ...answer } as never);
    return new Promise(() => undefined);
  });
  await client.connect(new StreamableHTTPClientTransport(new URL(`${url}/mcp`)) as Transport);
  closeAfter({ close: () => client.close() });
  return client;
}

/** A client, and what its next call is answered with. */
async function oddServer() {
  const answers = new Map<unknown, (answer: object) => void>();
  let next: (exchange: Exchange) => object | Promise<object> = () => ({});
  const server = await RawServer.listen({
    before: ({ message, json, res }) => {
      if (message?.method === 'initialize') {
        const result = {
          protocolVersion: '2025-11-25',
          capabilities: { tools: {} },
          serverInfo: { name: 'b', version: '1' },
        };
        json({ jsonrpc: '2.0', id: message.id, result });
      } else if (message?.method === 'tools/list') {
        const result = { tools: [{ name: 'odd', inputSchema: { type: 'object' } }] };
        json({ jsonrpc: '2.0', id: message.id, result });
      } else if (message?.method === undefined && answers.has(message?.id)) {
        answers.get(message.id)?.(message);
        res.writeHead(202).end();
      } else return false;
      return true;
    },
    tools: {
      odd: async (exchange) => {
        const { sse, event, res, message } = exchange;
        sse();
        // The gateway's answer is a stream from here on.
        const { progressToken } = message.params._meta;
        event({ jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken, progress: 1 } });
        event({ jsonrpc: '2.0', id: message.id, ...(await next(exchange)) });
        res.end();
      },
    },
  });
  const pool = closeAfter(new HTTPClientPool({ breakerThreshold: Number.POSITIVE_INFINITY }));
  pool.addServer({ name: 'bad', transport: 'http', url: server.url, era: 'legacy' });
  const client = await clientOf(pool);
  const call = (answer: typeof next): Promise<unknown> => {
    next = answer;
    const options = { timeout: 5_000, onprogress: () => undefined };
    return client.callTool({ name: 'bad__odd', arguments: {} }, undefined, options);
  };
  /** The server's question on the call's stream: its call is answered with the client's answer. */
  const ask = (question: object): Promise<unknown> =>
    call(async ({ event }) => {
      const answered = new Promise<object>((resolve) => answers.set('q', resolve));
      event({ jsonrpc: '2.0', id: 'q', method: 'roots/list', ...question });
      return { result: said(JSON.stringify(await answered)) };
    });
  return { call, ask };
}

test('a result that is no object is an error that says so', async () => {
  const { call } = await oddServer();
  for (const result of [null, true, 0, -1, 1.5, '', 'x', [], [{}], 'x'.repeat(300_000)]) {
    const said = await call(() => ({ result })).catch((error: Error) => error.message);
    const text = JSON.stringify(result).slice(0, 20);
    expect([text, said]).toEqual([text, 'MCP error -32603: server "bad": its result of tools/call is no object']);
  }
});

test('an error whose code is none is one of the gateway’s that says so', async () => {
  const { call } = await oddServer();
  for (const code of [1.5, 1e300, null, 'x', {}]) {
    const failed = call(() => ({ error: { code, message: 'the words' } }));
    await expect(failed).rejects.toThrow(/-32603: server "bad": an error reply with code .*: the words/);
  }
});

test('a question whose params are none is refused at once', async () => {
  const { ask } = await oddServer();
  const refused = expect.stringContaining('"code":-32600,"message":"its params are no object"');
  for (const params of [5, 'x', [1], true]) expect(await ask({ params })).toMatchObject(said(refused as never));
});

test('a question reaches its client without what is odd in its _meta', async () => {
  const { ask } = await oddServer();
  const tokens = [null, {}, [], 1.5, true].map((progressToken) => ({ progressToken }));
  const tasks = [5, {}, { taskId: 5 }].map((each) => ({ 'io.modelcontextprotocol/related-task': each }));
  for (const _meta of [null, 'x', [], ...tokens, ...tasks]) {
    expect(await ask({ params: { _meta } })).toMatchObject(said('{"jsonrpc":"2.0","id":"q","result":{"roots":[]}}'));
  }
});

test('what a client answers that is no answer is an error to the server', async () => {
  const { ask } = await oddServer();
  const results = [null, 5, 'x', [], true].map((result) => ({ result }));
  for (const answer of [...results, { error: null }, { error: 5 }, { error: { code: 1.5, message: 'a' } }]) {
    const told = expect.stringMatching(/"error":{"code":-32603,"message":"the client('s result is no object| failed)"/);
    expect(await ask({ params: { _meta: { answer } } })).toMatchObject(said(told as never));
  }
});

test('of the tasks of a server those that no client could take are left out', async () => {
  const task = { status: 'working', ttl: null, createdAt: 'a', lastUpdatedAt: 'b' };
  const ids = ['good', 'odd', 'none', 'kept'];
  const tasks = [
    { ...task, taskId: 'good' },
    { ...task, taskId: 'odd', status: 'other' },
    { taskId: 'none' },
    { ...task, taskId: 'kept', pollInterval: 'x', statusMessage: 5 },
  ];
  const made = [...ids];
  const pool = new FakePool({
    one: {
      capabilities: { tools: {}, tasks: { list: {}, requests: { tools: { call: {} } } } } as never,
      lists: { tools: [{ name: 'run', inputSchema: { type: 'object' } }] },
      methods: {
        'tools/call': () => ({ task: { ...task, taskId: made.shift() } }),
        'tasks/list': () => ({ tasks }),
      },
    },
  });
  const client = await clientOf(pool);
  for (const _ of ids) {
    await client.request(
      { method: 'tools/call', params: { name: 'one__run', task: {} } },
      ListTasksResultSchema.partial(),
    );
  }
  const told = await client.request({ method: 'tasks/list', params: {} }, ListTasksResultSchema);
  expect(told.tasks).toEqual(
    ['good', 'kept'].map((id) => ({ ...task, taskId: expect.stringMatching(new RegExp(`^one__.*${id}$`)) })),
  );
});
