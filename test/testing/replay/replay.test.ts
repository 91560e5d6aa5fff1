import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { OptionError } from '../../../src/core/errors.js';
import { HTTPClientPool } from '../../../src/pool/HTTPClientPool.js';
import type { McpPool } from '../../../src/pool/McpPool.js';
import { StdioPool } from '../../../src/pool/StdioPool.js';
import { fakeServerCommand } from '../../../src/testing/fake/child/fakeServerCommand.js';
import { fakeServer } from '../../../src/testing/fake/FakeServer.js';
import type { FakeServerOptions, FakeTool } from '../../../src/testing/fake/FakeServerOptions.js';
import { check } from '../../../src/testing/history/check.js';
import { History } from '../../../src/testing/history/History.js';
import { recordMessages } from '../../../src/testing/history/record/recordMessages.js';
import { exchangesOf } from '../../../src/testing/replay/exchanges.js';
import { replay } from '../../../src/testing/replay/replay.js';
import { closeAfter } from '../../support/closeAfter.js';
import { outcome } from '../../support/memoryPool.js';
import { said } from '../../support/stdioPool.js';
import { tempFolder } from '../../support/tempFolder.js';

const TOOLS: Readonly<Record<string, FakeTool>> = {
  echo: {},
  count: { steps: 3, text: 'counted' },
  ask: { asks: 'sampling/createMessage' },
  tell: {
    call: (_, { notify }) => {
      notify('notifications/message', { level: 'info', data: 'told' });
      return 'told';
    },
  },
  wait: { serviceMs: 60_000 },
};

const ANSWER = { role: 'assistant', content: { type: 'text', text: 'yes' }, model: 'none' };
const caller = { key: 'one', capabilities: { sampling: {} } };

/** A pool with one server over HTTP. */
async function poolOf(options: FakeServerOptions, history?: History) {
  const server = closeAfter(fakeServer({ name: 's', answers: 'events', ...options }));
  const pool = closeAfter(
    new HTTPClientPool(history === undefined ? {} : { wrapConnection: (made) => recordMessages(made, history) }),
  );
  const { url } = await server.listen();
  pool.addServer({
    name: 's',
    transport: 'http',
    url,
    era: options.era === 'modern' ? 'modern' : 'legacy',
    sharing: 'bound',
  });
  return { server, pool };
}

const call = (pool: McpPool, name: string, args: object = {}, more: object = {}) =>
  pool.request('s', 'tools/call', { name, arguments: args }, { caller, ...more });

/** What a client does in these tests, and what it gets. */
async function session(pool: McpPool, era: 'legacy' | 'modern' = 'legacy'): Promise<unknown[]> {
  const steps: number[] = [];
  const heard: string[] = [];
  const { tools } = (await pool.request('s', 'tools/list', {}, { caller })) as { tools: { name: string }[] };
  const echo = await said(call(pool, 'echo', { text: 'grüße', id: 7 }));
  const counted = await said(
    call(pool, 'count', {}, { onProgress: ({ progress }: { progress: number }) => steps.push(progress) }),
  );
  // The modern era has no requests of servers.
  const asked =
    era === 'legacy' && (await said(call(pool, 'ask', { text: 'well?' }, { onRequest: async () => ANSWER })));
  const told = await said(
    call(pool, 'tell', {}, { onNotification: ({ method }: { method: string }) => heard.push(method) }),
  );
  const refused = await outcome(call(pool, 'no such tool'));
  return [tools.map(({ name }) => name), echo, counted, steps, asked, told, heard, refused];
}

async function recording(options: FakeServerOptions = {}): Promise<{ history: History; got: unknown[] }> {
  const history = new History();
  const { pool } = await poolOf({ tools: TOOLS, ...options }, history);
  const got = await session(pool, options.era === 'modern' ? 'modern' : 'legacy');
  await pool.close();
  // As it is read from its file.
  return { history: History.parse(String(history)), got };
}

test.each(['legacy', 'modern'] as const)(
  'a recorded session of the %s era is replayed as a server without its tools',
  async (era) => {
    const { history, got } = await recording({ era });
    const { server, pool } = await poolOf({ replay: history, tools: {}, era });
    expect(await session(pool, era)).toEqual(got);
    await server.close();
    expect(server.events.filter(({ type }) => type === 'divergence')).toEqual([]);
  },
);

test('params that are none, or empty, are as another client writes them', async () => {
  const { history, got } = await recording();
  const without = String(history).replaceAll(',"params":{}', '').replaceAll(',"arguments":{}', '');
  expect(without.length).toBeLessThan(String(history).length);
  const { server, pool } = await poolOf({ replay: History.parse(without), tools: {} });
  expect(await session(pool)).toEqual(got);
  await expect(pool.request('s', 'tools/list', { cursor: 'x' }, { caller })).rejects.toThrow(
    /params\.cursor: recorded nothing, got "x"|comes once more/,
  );
  await server.close();
  expect(server.events.filter(({ type }) => type === 'divergence')).toHaveLength(1);
});

test('a call that differs, one that comes twice and one that does not come are divergences, and say where', async () => {
  const { history } = await recording();
  const { server, pool } = await poolOf({ replay: history });
  await call(pool, 'tell');
  await expect(call(pool, 'echo', { text: 'grüße', id: 8 })).rejects.toThrow(
    /the replay diverged: tools\/call .*params\.arguments\.id: recorded 7, got 8/,
  );
  await expect(call(pool, 'tell')).rejects.toThrow(/comes once more than in the recording/);
  await expect(pool.request('s', 'prompts/list', {}, { caller })).rejects.toThrow(
    /prompts\/list .* is not in the recording/,
  );
  // What changes nothing may be asked again.
  for (let again = 0; again < 2; again++) await pool.request('s', 'tools/list', {}, { caller });
  await pool.close();
  await server.close();
  const verdict = check(server.events);
  expect(verdict.violations.map(({ rule }) => rule)).toEqual(Array(7).fill('diverged'));
  expect(String(verdict)).toMatch(/tools\/call \{"name":"echo".*is in the recording, and did not come/);
});

test('what a client was asked and answers otherwise is a divergence', async () => {
  const { history } = await recording();
  const { server, pool } = await poolOf({ replay: history });
  await call(pool, 'ask', { text: 'well?' }, { onRequest: async () => ({ ...ANSWER, model: 'another' }) });
  const [first] = check(server.events).violations;
  expect(first?.message).toBe('s: the reply to sampling/createMessage: result.model: recorded "none", got "another"');
});

test('a recording goes through a fault plan as any other server', async () => {
  const { history } = await recording();
  const { pool } = await poolOf({ replay: history, plan: { rules: [{ tool: 'echo', fault: 'error', code: -1 }] } });
  await expect(call(pool, 'echo', { text: 'grüße', id: 7 })).rejects.toMatchObject({ rpcCode: -1 });
});

test('what was never answered stays open until it is cancelled', async () => {
  const history = new History();
  const { pool } = await poolOf({ tools: TOOLS }, history);
  await outcome(call(pool, 'wait', {}, { timeoutMs: 50 }));
  await pool.close();
  const again = await poolOf({ replay: history });
  expect(await outcome(call(again.pool, 'wait', {}, { timeoutMs: 50 }))).toBe('ERR_REQUEST_TIMEOUT');
  const phases = () => again.server.events.map((event) => event.type === 'effect' && event.phase);
  await expect.poll(phases).toEqual(['begin', 'cancelled']);
});

test('the calls of a recording are made again, and the same server passes', async () => {
  const { history } = await recording();
  const { pool } = await poolOf({ tools: TOOLS });
  const verdict = await replay(history, pool, 's', { settleMs: 300 });
  expect(String(verdict)).toMatch(/^not guilty \(replay of \d+ events\): 6 calls: 6 answers/);
});

test('a server that answers, asks, says or is otherwise differs, and the verdict shows where', async () => {
  const { history } = await recording();
  const tools = {
    echo: { text: 'another' },
    count: { steps: 2, text: 'counted' },
    ask: { text: 'I ask no more' },
    tell: { text: 'told' },
  };
  const { pool } = await poolOf({ tools, name: 'other' });
  const verdict = await replay(history, pool, 's', { settleMs: 50, ignore: ['result.serverInfo.version'] });
  expect(verdict.violations.map(({ message }) => message)).toEqual([
    's: initialize: result.serverInfo.name: recorded "s", got "other"',
    expect.stringMatching(/^s: tools\/list: result\.tools\.4: recorded \{"name":"wait".*\}, got nothing$/),
    's: tools/call: result.content.0.text: recorded "grüße", got "another"',
    's: tools/call: progress: 0.total: recorded 3, got 2',
    's: tools/call: progress: 1.total: recorded 3, got 2',
    expect.stringMatching(/^s: tools\/call: progress: 2: recorded \{.*\}, got nothing$/),
    expect.stringMatching(/^s: tools\/call: result\.content\.0\.text: recorded .*, got "I ask no more"$/),
    's: tools/call: the server did not ask sampling/createMessage',
    's: notifications/message {"level":"info","data":"told"} did not come',
  ]);
  expect(() => verdict.assert()).toThrow(/the rule: a replay goes as it was recorded/);
});

test('calls go out as they overlapped: one waits for those that were answered before it, and for no others', async () => {
  const history = new History();
  const slow = { slow: { serviceMs: 100 }, echo: {} };
  const { pool } = await poolOf({ tools: slow }, history);
  const first = call(pool, 'slow');
  await call(pool, 'echo', { text: 'meanwhile' });
  await first;
  await call(pool, 'echo', { text: 'after' });
  await pool.close();
  const again = await poolOf({ tools: slow });
  expect((await replay(history, again.pool, 's', { settleMs: 0 })).ok).toBe(true);
  const order = again.server.events.map((event) => event.type === 'effect' && `${event.tool} ${event.phase}`);
  expect(order).toEqual(['slow begin', 'echo begin', 'echo end', 'slow end', 'echo begin', 'echo end']);
});

test('a recording of thousands of calls is replayed: each answer is waited for once', async () => {
  const history = new History();
  const calls = 8_000;
  for (let id = 0; id < calls; id++) {
    const message = { server: 's', wire: 'w', type: 'message', atMs: id } as const;
    history.push({ ...message, from: 'client', message: { jsonrpc: '2.0', id, method: 'tools/list' } });
    history.push({ ...message, from: 'server', message: { jsonrpc: '2.0', id, result: {} } });
  }
  let [asked, open] = [0, 0];
  const request = async (): Promise<object> => {
    asked++;
    expect(++open).toBe(1);
    await undefined;
    open--;
    return {};
  };
  const pool = { request, on: () => ({ [Symbol.dispose]: () => undefined }) } as unknown as McpPool;
  expect((await replay(history, pool, 's', { settleMs: 0 })).ok).toBe(true);
  expect(asked).toBe(calls);
});

test('of notifications without end that were not recorded a hundred are told, and the others counted', async () => {
  const history = new History();
  const message = { server: 's', wire: 'w', type: 'message', atMs: 0 } as const;
  const recorded = { method: 'notifications/message', params: { data: 999 } };
  history.push({ ...message, from: 'client', message: { jsonrpc: '2.0', id: 1, method: 'tools/list' } });
  history.push({ ...message, from: 'server', message: { jsonrpc: '2.0', ...recorded } });
  history.push({ ...message, from: 'server', message: { jsonrpc: '2.0', id: 1, result: {} } });
  const request = async (...[, , , options]: Parameters<McpPool['request']>): Promise<object> => {
    for (let data = 0; data < 1_000; data++) options?.onNotification?.({ ...recorded, params: { data } });
    return {};
  };
  const pool = { request, on: () => ({ [Symbol.dispose]: () => undefined }) } as unknown as McpPool;
  const { violations } = await replay(history, pool, 's');
  expect(violations).toHaveLength(101);
  expect(violations.at(-1)?.message).toContain('899 more notifications came that are not in the recording');
});

test('what a server says is given to its call at once, however many calls are open', () => {
  const count = 60_000;
  const ids = Array.from({ length: count }, (_, id) => id);
  const event = { type: 'message', server: 's', wire: 'w', atMs: 0 } as const;
  const asked = ids.map((id) => {
    const params = { _meta: { progressToken: id } };
    return { ...event, from: 'client', message: { jsonrpc: '2.0', id, method: 'tools/call', params } } as const;
  });
  const said = ids.map((id) => {
    const [method, params] = id % 2 ? ['notifications/progress', { progressToken: id }] : ['notifications/message', {}];
    return { ...event, from: 'server', message: { jsonrpc: '2.0', method, params } } as const;
  });
  const answer = { ...event, from: 'server', message: { jsonrpc: '2.0', id: count - 1, result: {} } } as const;
  const [last] = said;
  const exchanges = exchangesOf([...asked, ...said, answer, ...(last ? [last] : [])]);
  expect(exchanges.at(-1)?.steps).toHaveLength(count / 2 + 1);
  expect(exchanges.at(-2)?.steps).toHaveLength(1);
  expect(exchanges[1]?.steps).toHaveLength(1);
});

test('a child process replays a file, and says on stderr and by its exit code that it was called otherwise', async () => {
  const file = join(await tempFolder(), 'session.jsonl');
  const { history } = await recording();
  await writeFile(file, String(history));
  const pool = closeAfter(new StdioPool());
  const exits: (number | null)[] = [];
  pool.on('exited', ({ exitCode }) => exits.push(exitCode));
  pool.addServer({ name: 's', transport: 'stdio', ...fakeServerCommand({ name: 's', replay: file }) });
  const request = (args: object) => pool.request('s', 'tools/call', { name: 'echo', arguments: args });
  expect(await said(request({ text: 'grüße', id: 7 }))).toBe('grüße');
  expect(await outcome(request({ text: 'no such' }))).toBe('ERR_RPC');
  await pool.close();
  expect(exits).toEqual([2]);
});

test('what is no recording is refused by name', async () => {
  expect(() => fakeServer({ replay: new History() })).toThrow(OptionError);
  expect(() => fakeServer({ replay: '/no/such/file' })).toThrow(/replay: got "\/no\/such\/file"/);
  expect(() => fakeServerCommand({ replay: new History() })).toThrow(OptionError);
  const { pool } = await poolOf({});
  await expect(replay(new History(), pool, 's')).rejects.toThrow(OptionError);
});

test('what is no message, and a time that no timer takes, are passed over in a recording', async () => {
  const at = { type: 'message', server: 's', wire: 'w' } as const;
  const history = new History();
  const put = (atMs: number, from: 'client' | 'server', message: Record<string, unknown>): void =>
    history.push({ ...at, atMs, from, message });
  put(1, 'client', { id: 1, method: 'tools/call', params: { name: 'x' } });
  put(2, 'server', { method: { toString: 1 }, params: {} });
  put(1e300, 'client', { method: 'notifications/cancelled', params: { requestId: 1 } });
  let waitedMs = 0;
  const pool = {
    request: (_server: string, _method: string, _params: unknown, { signal }: { signal?: AbortSignal }) => {
      const begunMs = performance.now();
      return new Promise((_, reject) => {
        signal?.addEventListener('abort', () => {
          waitedMs = performance.now() - begunMs;
          reject(signal.reason as Error);
        });
      });
    },
    on: () => ({ [Symbol.dispose]: () => undefined }),
  };
  const verdict = await replay(history, pool as unknown as McpPool, 's', { timeoutMs: 50, settleMs: 1 });
  expect([verdict.ok, waitedMs > 40]).toEqual([true, true]);
});
