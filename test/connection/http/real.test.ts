import { once } from 'node:events';
import { request } from 'node:http';
import type { Tool } from '@modelcontextprotocol/client';
import { expect, test, vi } from 'vitest';
import type { HttpConnection } from '../../../src/connection/http/HttpConnection.js';
import { HttpDispatchers } from '../../../src/connection/net/sockets/HttpDispatchers.js';
import type { EraFinding } from '../../../src/connection/protocol/era.js';
import type { ServerNotice } from '../../../src/connection/protocol/messages.js';
import { NotSentError, OutcomeUnknownError, RequestTimeoutError, RpcError } from '../../../src/core/errors.js';
import { closeAfter } from '../../support/closeAfter.js';
import { everythingHttp, openHttp, sdkServer } from '../../support/httpServers.js';
import { call, failure } from '../../support/rawCalls.js';
import { said } from '../../support/rawServer.js';

// Programs start here, one after another, and the machine may be busy.
vi.setConfig({ testTimeout: 60_000 });

const answered = (text: string): object => expect.objectContaining(said(text));

async function tool(connection: HttpConnection, name: string): Promise<Tool> {
  const { tools } = (await connection.request('tools/list', {}, {})) as { tools: Tool[] };
  return tools.find((each) => each.name === name) as Tool;
}

test('server-everything is found to be legacy, answers, restarts in mid-call, and is served on', async () => {
  const first = await everythingHttp();
  const found: EraFinding[] = [];
  const eraMemory = { get: async () => undefined, set: async (each: EraFinding) => void found.push(each) };
  const connection = await openHttp(first.url, { eraMemory });
  expect(connection.info).toMatchObject({ era: 'legacy', protocolVersion: '2025-11-25' });
  expect(found).toMatchObject([{ era: 'legacy' }]);
  expect((await tool(connection, 'echo')).name).toBe('echo');
  const texts = Array.from({ length: 50 }, (_, i) => `m${i}`);
  const answers = await Promise.all(texts.map((message) => call(connection, 'echo', { message })));
  expect(answers).toEqual(texts.map((text) => answered(`Echo: ${text}`)));
  const progress: number[] = [];
  const long = failure(
    call(
      connection,
      'trigger-long-running-operation',
      { duration: 30, steps: 600 },
      { onProgress: (each) => progress.push(each.progress) },
    ),
  );
  await expect.poll(() => progress.length).toBeGreaterThan(1);
  await first.close();
  await everythingHttp(first.port);
  // The stream had event ids: it is resumed at the new server, which knows neither it nor the session.
  expect(await long).toBeInstanceOf(OutcomeUnknownError);
  expect(await call(connection, 'echo', { message: 'again' })).toEqual(answered('Echo: again'));
  expect(connection.alive).toBe(true);
});

test('a modern server is found out, lists, answers, cancels by the end of the stream, and refuses the unknown', async () => {
  const { url } = await sdkServer('modern');
  const found: EraFinding[] = [];
  const eraMemory = { get: async () => found[0], set: async (each: EraFinding) => void found.push(each) };
  const connection = await openHttp(url, { eraMemory });
  expect(connection.info).toMatchObject({ era: 'modern', protocolVersion: '2026-07-28' });
  expect(found).toMatchObject([{ era: 'modern', version: '2026-07-28' }]);
  const texts = Array.from({ length: 30 }, (_, i) => `grüße ${i}`);
  const answers = await Promise.all(texts.map((text) => call(connection, 'echo', { text })));
  expect(answers).toEqual(texts.map((text) => answered(text)));
  expect(await failure(connection.request('no/such', {}, {}))).toMatchObject({
    constructor: RpcError,
    rpcCode: -32601,
  });
  // On a busy machine one may be given up before its server has it.
  const cancelled = async (): Promise<unknown> => {
    const error = await failure(call(connection, 'slow', { ms: 60_000 }, { timeoutMs: 60 }));
    expect(error).toBeInstanceOf(RequestTimeoutError);
    return call(connection, 'cancelled');
  };
  await expect.poll(cancelled).not.toEqual(answered('0'));
});

test('a tool’s arguments go into headers by its definition, which is asked for anew when it is outdated', async () => {
  const { url } = await sdkServer('modern');
  let definition: Tool | undefined;
  const asked: string[] = [];
  const connection = await openHttp(url, {
    era: 'modern',
    refreshTool: async (name) => {
      asked.push(name);
      return definition;
    },
  });
  const where = await tool(connection, 'where');
  const args = { region: ' süd ', count: 7 };
  expect(await call(connection, 'where', args, { toolDefinition: where })).toEqual(answered(' süd  7'));
  expect(await failure(call(connection, 'where', args))).toMatchObject({ constructor: RpcError, rpcCode: -32020 });
  definition = where;
  const outdated = { ...where, inputSchema: { type: 'object' } } as Tool;
  expect(await call(connection, 'where', { region: 'eu' }, { toolDefinition: outdated })).toEqual(
    answered('eu undefined'),
  );
  expect(asked).toEqual(['where', 'where']);
});

test('a modern subscription is acknowledged, tells, and ends by our side, by signal and by the server', async () => {
  const { url, port } = await sdkServer('modern');
  const connection = await openHttp(url);
  const heard: ServerNotice[] = [];
  const listen = (more = {}) =>
    connection.listen({ toolsListChanged: true }, { onNotification: (each) => heard.push(each), ...more });
  const first = await listen({ subscriptionId: 'mine' });
  expect(first.filter).toMatchObject({ toolsListChanged: true });
  expect(connection.inFlight).toBe(0);
  await call(connection, 'touch');
  await expect.poll(() => heard.length).toBe(1);
  expect(heard[0]).toMatchObject({
    method: 'notifications/tools/list_changed',
    params: { _meta: { 'io.modelcontextprotocol/subscriptionId': 'mine' } },
  });
  await first.close();
  expect(first.endedBy).toBe('closed');
  const control = new AbortController();
  const second = await listen({ signal: control.signal });
  control.abort();
  await second.ended;
  expect(second.endedBy).toBe('closed');
  const third = await listen();
  const closing = request({ port, path: '/close', method: 'POST', agent: false }).end();
  (await once(closing, 'response'))[0].resume();
  await third.ended;
  expect(third.endedBy).toBe('finished');
});

test('a v2 server without sessions serves the legacy era, too', async () => {
  const { url } = await sdkServer('modern');
  const connection = await openHttp(url, { era: 'legacy' });
  expect(connection.info.era).toBe('legacy');
  expect(await call(connection, 'echo', { text: 'x' })).toEqual(answered('x'));
  await expect(connection.listen({}, { onNotification: () => undefined })).rejects.toMatchObject({
    code: 'ERR_OPTION',
  });
});

test('four clients sample 25 times each over one session, and none is misrouted', async () => {
  const { url } = await sdkServer('sessions');
  const connection = await openHttp(url, { era: 'legacy', capabilities: { sampling: {} } });
  const orphans: unknown[] = [];
  connection.setRequestHandler(async (request) => orphans.push(request));
  const ask = (client: number, i: number) =>
    call(
      connection,
      'ask',
      { text: `${client}.${i}` },
      {
        onRequest: async ({ params }) => {
          const [message] = (params?.['messages'] ?? []) as { content: { text: string } }[];
          await new Promise((resolve) => setTimeout(resolve, (i * 7) % 11));
          const content = { type: 'text', text: `client ${client} heard ${message?.content.text}` };
          return { role: 'assistant', model: 'm', content };
        },
      },
    );
  const all = [0, 1, 2, 3].flatMap((client) => Array.from({ length: 25 }, (_, i) => ({ client, i })));
  const answers = await Promise.all(all.map(({ client, i }) => ask(client, i)));
  expect(answers).toEqual(all.map(({ client, i }) => answered(`client ${client} heard ${client}.${i}`)));
  expect(orphans).toEqual([]);
});

test('a server that dies under load: sent calls are unknown, later ones not sent, and its successor is served', async () => {
  const first = await sdkServer('sessions');
  const dispatchers = closeAfter(new HttpDispatchers());
  const connection = await openHttp(first.url, { era: 'legacy', dispatchers });
  const slow = Array.from({ length: 20 }, () => failure(call(connection, 'slow', { ms: 60_000 })));
  await call(connection, 'echo', { text: 'x' });
  await first.close();
  for (const each of await Promise.all(slow)) expect(each).toBeInstanceOf(OutcomeUnknownError);
  await expect.poll(() => failure(call(connection, 'echo', { text: 'x' }))).toBeInstanceOf(NotSentError);
  await sdkServer('sessions', first.port);
  expect(await call(connection, 'echo', { text: 'back' })).toEqual(answered('back'));
  await connection.close();
});
