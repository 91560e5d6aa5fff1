import { createInterface } from 'node:readline';
import { PassThrough } from 'node:stream';
import { Client, StreamableHTTPClientTransport, type Transport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { expect, test } from 'vitest';
import { fakeServerCommand } from '../../../src/testing/fake/child/fakeServerCommand.js';
import { fakeServer } from '../../../src/testing/fake/FakeServer.js';
import type { FakeServerOptions } from '../../../src/testing/fake/FakeServerOptions.js';
import { type EffectEvent, epochNow, META_CALL } from '../../../src/testing/faults/events.js';
import { check } from '../../../src/testing/history/check.js';
import type { HistoryEvent } from '../../../src/testing/history/HistoryEvent.js';
import { FaultProxy } from '../../../src/testing/proxy/FaultProxy.js';
import { closeAfter } from '../../support/closeAfter.js';

/** A fake server of the modern era, as the official client sees it. */

const OPTIONS: FakeServerOptions = { resources: { 'test://a': 'A' }, prompts: { greet: 'hello' } };
const CALL = { call: 'one', server: 'fake', method: 'tools/call' } as const;
const REPLY = { role: 'assistant' as const, model: 'm', content: { type: 'text' as const, text: 'Paris' } };

async function connect(
  transport: Transport,
  mode: 'legacy' | 'auto' | { pin: string } = { pin: '2026-07-28' },
): Promise<{ client: Client; asked: unknown[] }> {
  const asked: unknown[] = [];
  const client = closeAfter(
    new Client(
      { name: 'modern', version: '1' },
      { versionNegotiation: { mode }, capabilities: { sampling: {}, elicitation: {}, roots: {} } },
    ),
  );
  client.setRequestHandler('sampling/createMessage', ({ params }) => {
    asked.push(params.messages[0]?.content);
    return REPLY;
  });
  client.setRequestHandler('elicitation/create', ({ params }) => {
    asked.push(params.message);
    return { action: 'accept', content: { to: params.message } };
  });
  client.setRequestHandler('roots/list', () => ({ roots: [] }));
  await client.connect(transport);
  return { client, asked };
}

const overHttp = async (options: FakeServerOptions) => {
  const server = closeAfter(fakeServer(options));
  const { url } = await server.listen();
  const proxy = closeAfter(await FaultProxy.listen({ upstream: url }));
  return { server, proxy, ...(await connect(new StreamableHTTPClientTransport(new URL(proxy.url)))) };
};

/** The SDK's own would start a second process to ask for the era. */
class OneProcess extends StdioClientTransport {}

const WAYS = {
  http: async (options: FakeServerOptions) => overHttp(options),
  stdio: async (options: FakeServerOptions) => connect(new OneProcess(fakeServerCommand(options) as never)),
};

const textOf = (result: unknown): string => (result as { content: [{ text: string }] }).content[0].text;

for (const way of ['http', 'stdio'] as const) {
  for (const era of ['modern', 'both'] as const) {
    test(`a client of the modern era has all of a server of era ${era} over ${way}`, async () => {
      const { client, asked } = await WAYS[way]({ ...OPTIONS, era });
      expect(client.getServerVersion()?.name).toBe('fake');
      expect((await client.discover()).supportedVersions).toEqual(['2026-07-28']);
      expect((await client.listTools()).tools.map(({ name }) => name)).toContain('echo');
      expect((await client.listPrompts()).prompts).toHaveLength(1);
      expect((await client.listResources()).resources).toHaveLength(1);
      expect((await client.listResourceTemplates()).resourceTemplates).toEqual([]);
      expect((await client.readResource({ uri: 'test://a' })).contents).toMatchObject([{ text: 'A' }]);
      expect((await client.getPrompt({ name: 'greet' })).messages).toHaveLength(1);
      expect(textOf(await client.callTool({ name: 'echo', arguments: { text: 'grüße' } }))).toBe('grüße');
      const answer = await client.callTool({ name: 'ask', arguments: { text: 'capital?' } });
      expect([JSON.parse(textOf(answer)), asked]).toEqual([REPLY, [{ type: 'text', text: 'capital?' }]]);
    });
  }
}

test('a tool that asks is run again with the replies, in however many rounds, and takes effect once', async () => {
  const elicit = (message: string) => ({ message, requestedSchema: { type: 'object', properties: {} } });
  const { server, proxy, client, asked } = await overHttp({
    tools: {
      travel: {
        call: async (_, { ask }) => {
          const both = await Promise.all(['from', 'to'].map((each) => ask('elicitation/create', elicit(each))));
          // What it makes of the interruption is not its answer.
          const last = await ask('elicitation/create', elicit('when')).catch(() => 'never');
          return JSON.stringify([...both, last]);
        },
      },
    },
  });
  const replies = ['from', 'to', 'when'].map((to) => ({ action: 'accept', content: { to } }));
  const result = await client.callTool({ name: 'travel', arguments: {}, _meta: { [META_CALL]: 'one' } });
  expect([JSON.parse(textOf(result)), asked]).toEqual([replies, ['from', 'to', 'when']]);
  // To the history it is one effect, told by the server or by what stands in front of it.
  for (const { events } of [server, proxy]) {
    const effects = events.filter((event) => event.type === 'effect');
    expect(effects.map(({ phase, goesOn }) => [phase, goesOn])).toEqual([
      ['begin', undefined],
      ['end', undefined],
      ...[1, 2].flatMap(() => [
        ['begin', true],
        ['end', true],
      ]),
    ]);
    const history: HistoryEvent[] = [{ type: 'invoke', ...CALL, atMs: 0 }, ...effects];
    history.push({ type: 'answer', call: 'one', atMs: epochNow() }, { type: 'end', atMs: epochNow() });
    expect(String(check(history))).toMatch(/^not guilty: 1 calls: .*; 1 effects/);
  }
  const odd = client.callTool({ name: 'travel', arguments: {}, requestState: '7' } as never);
  await expect(odd).rejects.toThrow(/requestState/);
});

test('a call whose client gives it up while it is asked is not one that is still worked on', async () => {
  const { server, client } = await overHttp({});
  const control = new AbortController();
  client.setRequestHandler('sampling/createMessage', () => {
    control.abort();
    return REPLY;
  });
  const call = client.callTool({ name: 'ask', arguments: {}, _meta: { [META_CALL]: 'one' } }, control);
  await expect(call).rejects.toThrow();
  const effects = server.events.filter((event) => event.type === 'effect');
  expect(effects.map(({ phase }) => phase)).toEqual(['begin', 'end']);
  const atMs = epochNow();
  const history: HistoryEvent[] = [
    { type: 'invoke', ...CALL, atMs: 0 },
    ...effects,
    { type: 'cancel', call: 'one', atMs },
  ];
  // Another one, later in that session: its server was there to be told.
  for (const phase of ['begin', 'end'] as const) {
    history.push({ ...(effects[0] as EffectEvent), call: 'two', phase, atMs: atMs + 10_000 });
  }
  expect(check(history).violations).toEqual([]);
});

test('a tool asks for what an official client can answer, in both eras', async () => {
  const tools = { form: { asks: 'elicitation/create' }, folders: { asks: 'roots/list' } };
  const { url } = await closeAfter(fakeServer({ tools, answers: 'events' })).listen();
  for (const mode of ['legacy', 'auto'] as const) {
    const { client, asked } = await connect(new StreamableHTTPClientTransport(new URL(url)), mode);
    const answers = ['form', 'folders'].map((name) => client.callTool({ name, arguments: { text: 'to?' } }));
    const [form, folders] = (await Promise.all(answers)).map((answer) => JSON.parse(textOf(answer)));
    expect([client.getProtocolEra(), asked]).toEqual([mode === 'auto' ? 'modern' : 'legacy', ['to?']]);
    expect([form, folders]).toMatchObject([{ action: 'accept' }, { roots: [] }]);
  }
});

test('each request is answered in its own era', async () => {
  const server = closeAfter(fakeServer());
  const [input, output] = [new PassThrough(), new PassThrough()];
  server.serve(input, output);
  const modern = { _meta: { 'io.modelcontextprotocol/protocolVersion': '2026-07-28' } };
  for (const [id, params] of [modern, {}].entries()) {
    input.write(`${JSON.stringify({ jsonrpc: '2.0', id, method: 'prompts/list', params })}\n`);
  }
  const results: unknown[] = [];
  for await (const line of createInterface({ input: output })) {
    if (results.push(JSON.parse(line).result) === 2) break;
  }
  expect(results).toEqual([{ resultType: 'complete', ttlMs: 0, cacheScope: 'private', prompts: [] }, { prompts: [] }]);
});
