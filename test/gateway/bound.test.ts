import { afterEach, expect, test, vi } from 'vitest';
import { Gateway } from '../../src/gateway/Gateway.js';
import { StdioPool } from '../../src/pool/StdioPool.js';
import type { Sharing } from '../../src/registry/config/ServerConfig.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { closeAfter } from '../support/closeAfter.js';
import { type EventReader, exchange, type Message, RawClient } from '../support/httpClient.js';
import { headersOf, META_OF_ANYONE } from '../support/modernRequests.js';
import { fixture } from '../support/servers.js';

// Programs start here, and the machine may be busy.
vi.setConfig({ testTimeout: 60_000 });

let pool: StdioPool;
let readers: EventReader[] = [];

afterEach(async () => {
  await Promise.all(readers.map((reader) => reader.stop()));
  readers = [];
});

const start = async (...sharings: Sharing[]): Promise<string> => {
  pool = closeAfter(new StdioPool({ ledger: false }));
  for (const sharing of sharings) {
    const args = [fixture('echo-server.mjs'), '--tell-pid'];
    pool.addServer({ name: sharing, transport: 'stdio', command: process.execPath, args, sharing });
  }
  const gateway = closeAfter(new Gateway({ pool, port: 0 }));
  return (await gateway.listen()).url;
};

const open = async (url: string, capabilities: object = {}): Promise<RawClient> => {
  const client = new RawClient(url);
  await client.initialize('2025-11-25', capabilities);
  return client;
};

const listen = async (client: RawClient): Promise<EventReader> => {
  const reader = await client.listen();
  readers.push(reader);
  return reader;
};

const tool = async (client: RawClient, name: string, args: object = {}): Promise<string> => {
  const { result, error } = await client.call('tools/call', { name, arguments: args });
  const [first] = (result?.['content'] ?? []) as { text: string }[];
  return first?.text ?? JSON.stringify(error);
};

const pidOf = async (client: RawClient, name = 'calls'): Promise<number> =>
  (JSON.parse(await tool(client, name)) as { pid: number }).pid;

const end = (client: RawClient) => exchange(client.url, { method: 'DELETE', headers: client.headers });

const alive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

test('each session has a process of its own on a bound server, which ends with it', async () => {
  const url = `${await start('bound')}/servers/bound/mcp`;
  const clients = await Promise.all([open(url), open(url, { sampling: {} })]);
  const pids = await Promise.all(clients.map((client) => pidOf(client)));
  expect(new Set(pids).size).toBe(2);
  expect(await Promise.all(clients.map((client) => pidOf(client)))).toEqual(pids);
  await Promise.all(clients.map(end));
  await expect.poll(() => pids.map(alive), { timeout: 30_000 }).toEqual([false, false]);
  expect(pool.stats('bound')).toMatchObject({ connections: 0, pids: [], inFlight: 0, queued: 0 });
});

test('a question of a server that cannot say whom it asks is refused, and says what to do', async () => {
  const client = await open(`${await start('shared')}/servers/shared/mcp`, { sampling: {} });
  const why = 'with sharing: "shared" a server cannot say whom it asks; set sharing: "bound" for it';
  expect(await tool(client, 'ask')).toContain(JSON.stringify(why).slice(1, -1));
});

test('a leased server asks the client of the call that has its connection, whoever else has been there', async () => {
  const url = `${await start('leased')}/servers/leased/mcp`;
  const asked = async (client: RawClient): Promise<string> => {
    const stream = await listen(client);
    const call = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'ask', arguments: { question: 1 } } };
    const answer = client.send(call, { accept: 'application/json' });
    const [question] = await Promise.race([stream.has(1), answer.then(() => [])]);
    await client.send({ jsonrpc: '2.0', id: question?.id, result: { model: 'm' } });
    return (await answer).text;
  };
  const [first, second] = [await open(url, { sampling: {} }), await open(url, { sampling: {} })];
  expect(await asked(first)).toContain('model');
  await exchange(url, {
    method: 'POST',
    headers: headersOf('tools/list'),
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list', params: { _meta: META_OF_ANYONE } }),
  });
  expect(await asked(second)).toContain('model');
  expect(await asked(await open(url, { sampling: {} }))).toContain('model');
  // One that cannot be asked is not.
  expect(await tool(await open(url), 'ask')).toContain('-32601');
});

test.each(['/servers/bound/mcp', '/mcp'])(
  'at %s a session is told the instructions and capabilities of its own process, not of another session’s',
  async (path) => {
    const url = (await start('bound')) + path;
    for (let i = 0; i < 3; i++) {
      const { result } = await new RawClient(url).initialize();
      const pid = pool.stats('bound').pids[i];
      expect(pid).toBeGreaterThan(1);
      expect(JSON.stringify(result).match(/(?<=process |"is":)\d+/g)).toEqual(
        path === '/mcp' ? [`${pid}`] : [`${pid}`, `${pid}`],
      );
    }
  },
);

test('nobody hears what a bound server says to another session, on the path of the server and in the aggregate', async () => {
  const url = await start('bound');
  const paths = ['/servers/bound/mcp', '/servers/bound/mcp', '/mcp', '/mcp'];
  const clients = await Promise.all(paths.map((path) => open(url + path)));
  await Promise.all(clients.slice(0, 2).map((client) => pidOf(client)));
  const streams = await Promise.all(clients.map(listen));
  const [first] = clients as [RawClient];
  // Asked by the first: what it says comes ahead of that answer, as it belongs to the same client.
  const notify = {
    name: 'notify',
    arguments: { method: 'notifications/message', params: { level: 'info', data: 'mine' } },
  };
  const { messages } = await first.send({ jsonrpc: '2.0', id: 'n', method: 'tools/call', params: notify });
  expect(messages.map(({ id, params }) => id ?? params?.['data'])).toEqual(['mine', 'n']);
  const changed = { name: 'notify', arguments: { method: 'notifications/tools/list_changed' } };
  await first.send({ jsonrpc: '2.0', id: 'c', method: 'tools/call', params: changed });
  // Whatever had been sent to the others would have come before this.
  await Promise.all(clients.map((client) => client.call('ping')));
  expect(streams.map(({ messages: heard }) => heard)).toEqual([[], [], [], []]);
});

test('what cannot go ahead of an answer comes down the stream of that session alone', async () => {
  const url = `${await start('bound')}/servers/bound/mcp`;
  const [mine, other] = (await Promise.all([open(url), open(url)])) as [RawClient, RawClient];
  await Promise.all([pidOf(mine), pidOf(other)]);
  const [stream, otherStream] = (await Promise.all([listen(mine), listen(other)])) as [EventReader, EventReader];
  const said = { method: 'notifications/message', params: { level: 'info', data: 'later' } };
  // The client takes no events in its answer, so that nothing can go ahead of it.
  const call = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'notify', arguments: said } };
  await mine.send(call, { accept: 'application/json' });
  expect(await stream.has(1)).toEqual([{ jsonrpc: '2.0', ...said }]);
  expect(otherStream.messages).toEqual([]);
});

test('a bound server asks the client of its own session, and gets its answer or its error', async () => {
  const url = `${await start('bound')}/servers/bound/mcp`;
  const [asked, other] = (await Promise.all([open(url, { sampling: {} }), open(url, { sampling: {} })])) as [
    RawClient,
    RawClient,
  ];
  const [stream, otherStream] = (await Promise.all([listen(asked), listen(other)])) as [EventReader, EventReader];
  const ask = (id: number) =>
    asked.send(
      { jsonrpc: '2.0', id, method: 'tools/call', params: { name: 'ask', arguments: { question: id } } },
      { accept: 'application/json' },
    );
  const answers = [ask(1), ask(2)];
  const questions = await stream.has(2);
  expect(questions.map(({ method, params }) => [method, params])).toEqual([
    ['sampling/createMessage', { question: 1 }],
    ['sampling/createMessage', { question: 2 }],
  ]);
  const [one, two] = questions as [Message, Message];
  // Another session's answer is nobody's, also to the same id.
  await other.send({ jsonrpc: '2.0', id: one.id, result: { stolen: true } });
  await asked.send({ jsonrpc: '2.0', id: two.id, error: { code: -1, message: 'no' } });
  await asked.send({ jsonrpc: '2.0', id: one.id, result: { model: 'm' } });
  const texts = (await Promise.all(answers)).map(({ messages }) => JSON.stringify(messages[0]?.result));
  expect(texts[0]).toContain('{\\"model\\":\\"m\\"}');
  expect(texts[1]).toContain('{\\"error\\":{\\"code\\":-1,\\"message\\":\\"no\\"}}');
  expect(otherStream.messages).toEqual([]);
});

test('a client is asked only what it said it can do, and a question given up is withdrawn', async () => {
  const url = `${await start('bound')}/servers/bound/mcp`;
  const client = await open(url, { roots: {} });
  expect(await tool(client, 'ask', { question: 1 })).toContain('-32601');
  expect(await tool(client, 'ask', { method: 'elicitation/create' })).toContain('-32601');
  const call = { name: 'ask', arguments: { method: 'roots/list', cancelAfterMs: 50 } };
  const { messages } = await client.send({ jsonrpc: '2.0', id: 'r', method: 'tools/call', params: call });
  expect(messages[0]).toMatchObject({ method: 'roots/list' });
  const withdrawn = messages.find(({ method }) => method === 'notifications/cancelled');
  const answer = messages.find(({ id }) => id === 'r');
  expect(JSON.stringify(answer?.result)).toContain('cancelled my question');
  expect(withdrawn?.params).toEqual({ requestId: messages[0]?.id });
});

test('a session that ends while its client is asked leaves nothing waiting', async () => {
  const url = `${await start('bound')}/servers/bound/mcp`;
  const client = await open(url, { sampling: {} });
  const pid = await pidOf(client);
  const stream = await listen(client);
  const call = client.send(
    { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'ask' } },
    { accept: 'application/json' },
  );
  await stream.has(1);
  await end(client);
  expect((await call).messages[0]?.error).toMatchObject({ data: { code: 'ERR_OUTCOME_UNKNOWN' } });
  await expect.poll(() => alive(pid), { timeout: 30_000 }).toBe(false);
});

test('in the aggregate, sessions share what is shared and have their own of what is bound', async () => {
  const url = `${await start('shared', 'leased', 'bound')}/mcp`;
  const clients = await Promise.all([open(url), open(url)]);
  const names = async (client: RawClient) =>
    ((await client.call('tools/list')).result?.['tools'] as { name: string }[] | undefined)?.map(({ name }) => name);
  expect(await Promise.all(clients.map(names))).toEqual(
    [0, 1].map(() => ['shared__echo0', 'leased__echo0', 'bound__echo0']),
  );
  const { pids } = pool.stats('bound');
  expect(pids).toHaveLength(2);
  const calls = await Promise.all(clients.map((client) => tool(client, 'bound__echo0')));
  expect(calls.every((text) => text.includes('unknown tool echo0'))).toBe(true);
  expect(pool.stats('shared').pids).toHaveLength(1);
  await Promise.all(clients.map(end));
  await expect.poll(() => pids.map(alive), { timeout: 30_000 }).toEqual([false, false]);
});

test('in the aggregate, a session outlives its own connection to one server, and so do its calls on the others', async () => {
  const url = `${await start('bound')}/mcp`;
  pool.addServer({ name: 'slow', transport: 'stdio', command: process.execPath, args: [fixture('levels-server.mjs')] });
  const client = await open(url);
  await tool(client, 'slow__log');
  await tool(client, 'bound__echo0');
  const [pid = 0] = pool.stats('bound').pids;
  const exited = new Promise((resolve) => pool.on('exited', resolve));
  const call = client.call('tools/call', { name: 'slow__log', arguments: { who: 'a', ms: 1_000 } });
  await expect.poll(() => pool.stats('slow').inFlight).toBe(1);
  process.kill(pid, 'SIGKILL');
  expect(await exited).toMatchObject({ server: 'bound', expected: false });
  expect(await call).toMatchObject({ result: { told: [] } });
  // Its next process is its own again.
  expect(await tool(client, 'bound__echo0')).toContain('unknown tool echo0');
  expect(pool.stats('bound').pids).not.toEqual([pid]);
});

test('calls of two sessions on a leased server each have a connection for themselves', async () => {
  const url = `${await start('leased')}/servers/leased/mcp`;
  const clients = await Promise.all([open(url), open(url)]);
  const slept = await Promise.all(clients.map((client) => tool(client, 'sleep', { ms: 300 })));
  expect(slept).toEqual(['slept', 'slept']);
  expect(pool.stats('leased').connections).toBe(2);
});

test("a session's connection does not idle away while the session lives; one of no session does", async () => {
  const clock = new FakeClock();
  // Pings would be late: the clock runs ahead of the process.
  const own = closeAfter(new StdioPool({ ledger: false, clock, healthIntervalMs: 86_400_000 }));
  const args = [fixture('echo-server.mjs'), '--tell-pid'];
  own.addServer({ name: 'bound', transport: 'stdio', command: process.execPath, args, sharing: 'bound' });
  const gateway = closeAfter(new Gateway({ pool: own, port: 0 }));
  const client = await open(`${(await gateway.listen()).url}/servers/bound/mcp`);
  const pid = await pidOf(client);
  await own.request('bound', 'ping', undefined, { caller: { key: 'other' } });
  const idled = new Promise((resolve) => own.on('exited', resolve));
  for (let minute = 0; minute < 20; minute++) await clock.advance(60_000);
  expect(await idled).toMatchObject({ expected: true });
  expect(await pidOf(client)).toBe(pid);
  expect(own.stats('bound').pids).toEqual([pid]);
});

test("a question that waits for a human does not use up the call's time; afterwards it runs on", async () => {
  const clock = new FakeClock();
  const own = closeAfter(new StdioPool({ ledger: false, clock, healthIntervalMs: 86_400_000 }));
  const server = { transport: 'stdio', command: process.execPath, args: [fixture('echo-server.mjs')] } as const;
  own.addServer({ name: 'bound', ...server, sharing: 'bound', timeouts: { default: 10_000 } });
  const gateway = closeAfter(new Gateway({ pool: own, port: 0 }));
  const client = await open(`${(await gateway.listen()).url}/servers/bound/mcp`, { sampling: {} });
  const stream = await listen(client);
  const params = { name: 'ask', arguments: { question: 1 } };
  const call = { jsonrpc: '2.0', id: 1, method: 'tools/call', params };
  const answer = client.send(call, { accept: 'application/json' });
  const [question] = await stream.has(1);
  await clock.advance(300_000);
  await client.send({ jsonrpc: '2.0', id: question?.id, result: { model: 'm' } });
  expect((await answer).text).toContain('model');
  // One that is not asked keeps to its time.
  const hanging = tool(client, 'sleep', { ms: 600_000 });
  while (own.stats('bound').inFlight === 0) await new Promise((resolve) => setImmediate(resolve));
  await clock.advance(11_000);
  expect(await hanging).toContain('ERR_REQUEST_TIMEOUT');
});
