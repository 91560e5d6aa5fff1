import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { keepText } from '../../src/connection/channel/codec/exactText.js';
import {
  membersOf,
  memberText,
  repeatsName,
  rewritten,
  withMembers,
} from '../../src/connection/channel/codec/members.js';
import { Gateway } from '../../src/gateway/Gateway.js';
import { classify, type RequestMessage } from '../../src/gateway/rpc/envelope.js';
import { progressText } from '../../src/gateway/rpc/notices.js';
import { HTTPClientPool } from '../../src/pool/HTTPClientPool.js';
import { StdioPool } from '../../src/pool/StdioPool.js';
import { closeAfter } from '../support/closeAfter.js';
import { FakePool } from '../support/FakePool.js';
import { exchange, RawClient } from '../support/httpClient.js';
import { fixture } from '../support/servers.js';

// Programs start here, and the machine may be busy.
vi.setConfig({ testTimeout: 60_000 });

const ARGUMENTS = '{"z":725653563933458433,"a":1.0,"__proto__":{"x":1e400},"e":"\\u0041"}';
const META = '"_meta":{"x.example/exact":9007199254740993}';

const start = async (sharing: 'shared' | 'bound' = 'shared'): Promise<string> => {
  const pool = closeAfter(new StdioPool({ ledger: false }));
  pool.addServer({
    name: 'v',
    transport: 'stdio',
    command: process.execPath,
    args: [fixture('verbatim-server.mjs')],
    sharing,
  });
  const gateway = closeAfter(new Gateway({ pool, port: 0 }));
  return (await gateway.listen()).url;
};

for (const [path, tool] of [
  ['/servers/v/mcp', 'echo'],
  ['/mcp', 'v__echo'],
] as const) {
  test(`arguments, _meta, ids and error data pass ${path} as they were written`, async () => {
    const client = new RawClient((await start()) + path);
    await client.initialize('2025-11-25', {});
    const body = `{"jsonrpc":"2.0","id":9007199254740993,"method":"tools/call","params":{"name":"${tool}","arguments":${ARGUMENTS},${META}}}`;
    const { text } = await exchange(client.url, { headers: client.headers, body });
    expect(text).toContain('"id":9007199254740993');
    expect(text).toContain('"data":{"big":725653563933458433,"one":1.0,');
    const { line } = (JSON.parse(text) as { error: { data: { line: string } } }).error.data;
    expect(line).toContain(`"arguments":${ARGUMENTS}`);
    expect(line).toContain('"x.example/exact":9007199254740993');
    expect(line).toContain('"name":"echo"');
  });
}

const EXACT = '{"z":725653563933458433,"one":1.0,"2":1e400,"1":"\\u0041"}';

for (const [path, tool] of [
  ['/servers/v/mcp', 'tell'],
  ['/mcp', 'v__tell'],
] as const) {
  test(`what either side tells and asks by itself passes ${path} as it was written`, async () => {
    const client = new RawClient((await start('bound')) + path);
    await client.initialize('2025-11-25', { sampling: {} });
    const post = (body: string) => exchange(client.url, { headers: client.headers, body });
    await post(`{"jsonrpc":"2.0","method":"notifications/x.example/told","params":${EXACT}}`);
    // As the first of the bound connection, so that the notification reaches a server that is up.
    await post('{"jsonrpc":"2.0","id":1,"method":"tools/list"}');
    await post(`{"jsonrpc":"2.0","method":"notifications/x.example/told","params":${EXACT}}`);
    const params = `{"name":"${tool}","arguments":{},"_meta":{"progressToken":9007199254740993}}`;
    const response = await fetch(client.url, {
      method: 'POST',
      headers: client.headers,
      body: `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":${params}}`,
    });
    let text = '';
    let answered = false;
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
      text += Buffer.from(chunk).toString();
      const id = /"id":"(ask-[^"]+)","method":"sampling/.exec(text)?.[1];
      if (id === undefined || answered) continue;
      answered = true;
      await post(`{"jsonrpc":"2.0","id":"${id}","result":{"model":"m","x":${EXACT}}}`);
    }
    const token = '"progressToken":9007199254740993';
    expect(text).toContain(`"params":{"progress":1.0,${token},"total":9007199254740993,"x":${EXACT}}`);
    expect(text).toContain(`"method":"notifications/message","params":{"level":"info","data":${EXACT}}`);
    if (tool === 'tell') expect(text).toContain(`"method":"notifications/x.example/own","params":${EXACT}`);
    expect(text).toContain(`"method":"sampling/createMessage","params":{"messages":[],"x":${EXACT}}`);
    const last = [...text.matchAll(/^data: (.*)$/gm)].at(-1)?.[1] ?? '';
    const { answer, heard } = (JSON.parse(last) as { result: { answer: string; heard: string[] } }).result;
    expect(answer).toBe(`{"jsonrpc":"2.0","id":"q","result":{"model":"m","x":${EXACT}}}`);
    expect(heard).toContain(`{"jsonrpc":"2.0","method":"notifications/x.example/told","params":${EXACT}}`);
  });
}

test('what middleware changes of a notification leaves the rest of it as it was written', async () => {
  const pool = new FakePool({
    a: {
      capabilities: { tools: {}, logging: {} },
      methods: {
        'tools/call': (_params, { onNotification }) => {
          const text = `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":${EXACT},"logger":"l"}}`;
          const { method, params } = JSON.parse(text) as { method: string; params: Record<string, unknown> };
          keepText(params, text, 'params');
          onNotification?.({ method, params });
          return { content: [] };
        },
      },
    },
  });
  const gateway = closeAfter(new Gateway({ pool, port: 0 }));
  gateway.use((call, next) =>
    call.kind === 'notification' ? next({ params: { ...call.params, logger: 'other' } }) : next(),
  );
  const client = new RawClient(`${(await gateway.listen()).url}/servers/a/mcp`);
  await client.initialize('2025-11-25', {});
  const { text } = await client.send({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'x' } });
  expect(text).toContain(`"params":{"level":"info","data":${EXACT},"logger":"other"}`);
});

test('progress comes under the token as its client wrote it', async () => {
  const pool = closeAfter(new StdioPool({ ledger: false }));
  const args = [fixture('echo-server.mjs')];
  pool.addServer({ name: 'e', transport: 'stdio', command: process.execPath, args });
  const gateway = closeAfter(new Gateway({ pool, port: 0 }));
  const client = new RawClient(`${(await gateway.listen()).url}/servers/e/mcp`);
  await client.initialize('2025-11-25', {});
  for (const token of ['9007199254740993', '1e400', '"a\\u0041"', '7']) {
    const params = `{"name":"sleep","arguments":{"ms":2,"steps":1},"_meta":{"progressToken":${token}}}`;
    const body = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":${params}}`;
    const { text } = await exchange(client.url, { headers: client.headers, body });
    const written = token.startsWith('"') ? '"aA"' : token;
    expect(text).toContain(`"params":{"progressToken":${written},"progress":1,`);
  }
});

test('the data of an error in a refused HTTP request passes as it was written', async () => {
  const data = '{"big":725653563933458433,"one":1.0}';
  const server = createServer(async (incoming, response) => {
    if (incoming.method !== 'POST') return void response.writeHead(405).end();
    const { id, method } = (await json(incoming)) as { id?: number; method: string };
    const result = { protocolVersion: '2025-11-25', capabilities: {}, serverInfo: { name: 'r', version: '1' } };
    const refused = method === 'tools/call';
    response.writeHead(id === undefined ? 202 : refused ? 400 : 200, { 'content-type': 'application/json' });
    if (refused) response.end(`{"jsonrpc":"2.0","id":${id},"error":{"code":-32001,"message":"no","data":${data}}}`);
    else response.end(id === undefined ? undefined : JSON.stringify({ jsonrpc: '2.0', id, result }));
  }).listen(0, '127.0.0.1');
  closeAfter({
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  });
  await once(server, 'listening');
  const pool = closeAfter(new HTTPClientPool());
  const { port } = server.address() as AddressInfo;
  pool.addServer({ name: 'r', transport: 'http', url: `http://127.0.0.1:${port}/`, era: 'legacy' });
  const gateway = closeAfter(new Gateway({ pool, port: 0 }));
  const client = new RawClient(`${(await gateway.listen()).url}/servers/r/mcp`);
  await client.initialize('2025-11-25', {});
  const { text } = await client.send({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'x' } });
  expect(text).toContain(`"error":{"code":-32001,"message":"no","data":${data}}`);
});

test('what comes twice is not passed on as it stands: readers differ in which of the two they take', async () => {
  const client = new RawClient(`${await start()}/servers/v/mcp`);
  await client.initialize('2025-11-25', {});
  const body = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"other","name":"echo","arguments":{}}}';
  const { text } = await exchange(client.url, { headers: client.headers, body });
  const { line } = (JSON.parse(text) as { error: { data: { line: string } } }).error.data;
  expect(line).toContain('"params":{"name":"echo","arguments":{}}');
});

test('line breaks between values are white space: no client can end a message to a stdio server and begin one of its own', async () => {
  const client = new RawClient(`${await start()}/servers/v/mcp`);
  await client.initialize('2025-11-25', {});
  const injected = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo"}}';
  for (const space of ['\n', '\r\n', '\r', '\n\n']) {
    const args = `{"a":[${space}${injected}${space}],${space}"b":1.0}`;
    const body = `{"jsonrpc":"2.0","id":4,${space}"method":"tools/call","params":{"name":"echo",${space}"arguments":${args}}}`;
    const { text } = await exchange(client.url, { headers: client.headers, body });
    const { id, error } = JSON.parse(text) as { id: number; error: { data: { line: string } } };
    expect(id).toBe(4);
    expect(error.data.line).toContain(`"arguments":${args.replace(/[\r\n]+/g, ' ')}`);
  }
});

test('nor by characters in strings that some readers take for the end of a line', async () => {
  const client = new RawClient(`${await start()}/servers/v/mcp`);
  await client.initialize('2025-11-25', {});
  // Latin-1 alone, and not: strings are kept in two ways.
  for (const said of ['a\u0085b\\n\u0085', 'a\u2028\u0085\u2029\u2028b']) {
    const body = `{"jsonrpc":"2.0","id":4,"method":"tools/call","params":{"name":"echo","arguments":{"${said}":"${said}"}}}`;
    const { text } = await exchange(client.url, { headers: client.headers, body });
    const { line } = (JSON.parse(text) as { error: { data: { line: string } } }).error.data;
    const escaped = said.replace(
      /[\u0085\u2028\u2029]/g,
      (each) => `\\u${each.charCodeAt(0).toString(16).padStart(4, '0')}`,
    );
    expect(line).toContain(`"arguments":{"${escaped}":"${escaped}"}`);
  }
});

test.each([
  ['a result', (spaced: string) => `"result":{"model":"m",\r"x":${spaced}}`],
  ['the data of an error', (spaced: string) => `"error":{"code":-1,"message":"no",\n"data":${spaced}}`],
])('nor can it in what it tells, and answers by %s', async (_, answerOf) => {
  const client = new RawClient(`${await start('bound')}/servers/v/mcp`);
  await client.initialize('2025-11-25', { sampling: {} });
  const post = (body: string) => exchange(client.url, { headers: client.headers, body });
  const injected = '{"jsonrpc":"2.0","method":"notifications/x.example/injected","params":{}}';
  const spaced = `{"z":1.0,"a":[\r\n${injected}\n],"e":"\u2028"}`;
  // As the first of the bound connection, so that the notification reaches a server that is up.
  await post('{"jsonrpc":"2.0","id":1,"method":"tools/list"}');
  await post(`{"jsonrpc":"2.0","method":"notifications/x.example/told","params":${spaced}}`);
  const params = '{"name":"tell","arguments":{},"_meta":{"progressToken":1}}';
  const response = await fetch(client.url, {
    method: 'POST',
    headers: client.headers,
    body: `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":${params}}`,
  });
  let text = '';
  let asked: string | undefined;
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
    text += Buffer.from(chunk).toString();
    if (asked !== undefined) continue;
    asked = /"id":"(ask-[^"]+)","method":"sampling/.exec(text)?.[1];
    if (asked !== undefined) await post(`{"jsonrpc":"2.0","id":"${asked}",\n${answerOf(spaced)}}`);
  }
  const last = [...text.matchAll(/^data: (.*)$/gm)].at(-1)?.[1] ?? '';
  const { answer, heard } = (JSON.parse(last) as { result: { answer: string; heard: string[] } }).result;
  const onOneLine = spaced.replace(/[\r\n]+/g, ' ').replace('\u2028', '\\u2028');
  const answered = `{"jsonrpc":"2.0","id":"q",${answerOf(onOneLine).replace(/[\r\n]/g, ' ')}}`;
  expect([answered, answered.replace(', "data"', ',"data"')]).toContain(answer);
  expect(heard).toContain(`{"jsonrpc":"2.0","method":"notifications/x.example/told","params":${onOneLine}}`);
  expect(heard).not.toContain(injected);
});

test('a call in flight is cancelled by an id that JavaScript cannot hold, and one beside it is not', async () => {
  const pool = closeAfter(new StdioPool({ ledger: false }));
  const args = [fixture('echo-server.mjs')];
  pool.addServer({ name: 'e', transport: 'stdio', command: process.execPath, args });
  const gateway = closeAfter(new Gateway({ pool, port: 0 }));
  const client = new RawClient(`${(await gateway.listen()).url}/servers/e/mcp`);
  await client.initialize('2025-11-25', {});
  const post = (body: string) => exchange(client.url, { headers: client.headers, body });
  const call = (id: string, ms: number) =>
    post(`{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":{"name":"sleep","arguments":{"ms":${ms}}}}`);
  const cancelled = call('9007199254740993', 60_000);
  const kept = call('9007199254740992', 500);
  await expect.poll(() => pool.stats('e').inFlight, { timeout: 20_000 }).toBe(2);
  await post('{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":9007199254740993}}');
  expect((await kept).text).toContain('"id":9007199254740992');
  expect((await cancelled).text).not.toContain('"result"');
});

test('a message is walked through once for where its params and members stand', () => {
  const text = `{"jsonrpc":"2.0","id":9007199254740993,"method":"m","params":{"a":[${'1,'.repeat(500)}1]}}`;
  const message: unknown = JSON.parse(text);
  const looks = vi.spyOn(String.prototype, 'charCodeAt');
  const { idText, paramsText } = classify(message, text) as RequestMessage;
  const times = looks.mock.calls.length;
  looks.mockRestore();
  expect(times).toBeLessThan(1.5 * text.length);
  expect([idText, paramsText]).toEqual(['9007199254740993', text.slice(text.indexOf('{"a"'), -1)]);
});

test('an object of any size and shape that is written anew stays JSON', () => {
  const many = Object.fromEntries(Array.from({ length: 10_001 }, (_, at) => [`k${at}`, at]));
  const { params } = JSON.parse(progressText('"t"', { ...many, progress: 1, progressToken: 2 })) as { params: object };
  expect(params).toEqual({ ...many, progress: 1, progressToken: 't' });
  expect(rewritten('{"a":1,"a":2,"b":3}', { b: undefined, c: '1e400' })).toBe('{"a":2,"c":1e400}');
});

test('members of any object are found where they stand, and replaced without touching the others', () => {
  const spaced = fc.tuple(fc.object({ maxDepth: 3 }), fc.constantFrom(undefined, 1, '\t'));
  fc.assert(
    fc.property(spaced, ([object, space]) => {
      const text = JSON.stringify(object, undefined, space);
      const parsed = JSON.parse(text) as Record<string, unknown>;
      const members = membersOf(text) ?? [];
      expect(members.map(({ key }) => key)).toEqual(Object.keys(parsed));
      expect(repeatsName(text)).toBe(false);
      expect(
        repeatsName(`[1,{"in":[${text.replace(/\s*\}$/, `${members.length > 0 ? ',' : ''}"k":1,"\\u006b":2}`)}]}]`),
      ).toBe(true);
      for (const key of Object.keys(parsed)) {
        expect(JSON.parse(memberText(text, members, key) ?? '')).toEqual(parsed[key]);
      }
      const changed = JSON.parse(withMembers(text, { added: '1', ...gone(parsed) }) ?? '') as object;
      expect(changed).toEqual({ ...without(parsed), added: 1 });
    }),
  );
});

const first = (object: object): string | undefined => Object.keys(object).find((key) => key !== 'added');
const gone = (object: object): Record<string, undefined> => {
  const key = first(object);
  return key === undefined ? {} : Object.fromEntries([[key, undefined]]);
};
const without = (object: object): object =>
  Object.fromEntries(Object.entries(object).filter(([key]) => key !== first(object) && key !== 'added'));
