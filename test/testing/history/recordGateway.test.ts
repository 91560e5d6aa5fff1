import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { OptionError } from '../../../src/core/errors.js';
import { Gateway } from '../../../src/gateway/Gateway.js';
import { StdioPool } from '../../../src/pool/StdioPool.js';
import { check } from '../../../src/testing/history/check.js';
import { History } from '../../../src/testing/history/History.js';
import { record } from '../../../src/testing/history/record/record.js';
import { closeAfter } from '../../support/closeAfter.js';
import { FakePool } from '../../support/FakePool.js';
import { RawClient } from '../../support/httpClient.js';
import { fixture } from '../../support/servers.js';
import { tempFolder } from '../../support/tempFolder.js';

const call = (client: RawClient, name: string, args: object = {}) =>
  client.call('tools/call', { name, arguments: args });

test('a gateway is written down: calls by session, answers, cancels, what reaches a session, and the close', async () => {
  const effects = join(await tempFolder(), 'effects.jsonl');
  const history = new History();
  const pool = closeAfter(new StdioPool());
  const command = { command: process.execPath, args: [fixture('stamping-server.mjs')], env: { EFFECTS: effects } };
  pool.addServer({ name: 'stamping', transport: 'stdio', ...command, sharing: 'bound' });
  const gateway = record(closeAfter(new Gateway({ pool, port: 0 })), history, { withinMs: 60_000 });
  const { url } = await gateway.listen();
  const [alice, bob, all] = ['/servers/stamping/mcp', '/servers/stamping/mcp', '/mcp'].map(
    (path) => new RawClient(`${url}${path}`),
  ) as [RawClient, RawClient, RawClient];
  for (const client of [alice, bob, all]) await client.initialize();
  await call(alice, 'tell');
  await call(bob, 'echo', { text: 'hi' });
  await call(all, 'stamping__echo');
  const slow = alice.send({
    jsonrpc: '2.0',
    id: 's',
    method: 'tools/call',
    params: { name: 'slow', arguments: { ms: 60_000 } },
  });
  await expect.poll(() => readFile(effects, 'utf8')).toMatch(/c4/);
  await alice.send({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 's' } });
  await slow;
  await gateway.close();
  await pool.close();
  history.end();
  history.merge(await readFile(effects, 'utf8'));
  const calls = history.events.filter(({ type }) => type === 'invoke');
  expect(calls.map(({ type, atMs, ...rest }) => rest)).toMatchObject([
    { call: 'c1', part: 'gateway', server: 'stamping', method: 'tools/call', tool: 'tell', withinMs: 60_000 },
    { call: 'c2', server: 'stamping', tool: 'echo' },
    { call: 'c3', server: 'all servers', tool: 'stamping__echo' },
    { call: 'c4', server: 'stamping', tool: 'slow' },
  ]);
  const sessions = calls.map((event) => 'session' in event && event.session);
  expect(new Set(sessions).size).toBe(3);
  expect(sessions[3]).toBe(sessions[0]);
  const heard = history.events.filter(({ type }) => type === 'notification');
  expect(heard).toMatchObject([{ part: 'gateway', session: sessions[0], server: 'stamping', of: 'c1' }]);
  expect(history.events.filter(({ type }) => ['close', 'closed'].includes(type))).toHaveLength(2);
  expect(String(check(history))).toMatch(/^not guilty: 4 calls: 2 answers, 2 failures, 1 cancelled; 3 effects/);
});

test('arguments pass through a recorded gateway as they came, number by number', async () => {
  const pool = new FakePool({ one: { methods: { 'tools/call': () => ({ content: [] }) } } });
  const gateway = record(closeAfter(new Gateway({ pool, port: 0 })), new History());
  const client = new RawClient(`${(await gateway.listen()).url}/servers/one/mcp`);
  await client.initialize();
  const big = '{"name":"t","arguments":{"id":9007199254740993,"x":1.0}}';
  await client.send(JSON.parse(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}`));
  const sent = `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":${big}}`;
  await fetch(client.url, { method: 'POST', headers: client.headers, body: sent });
  const [empty, second] = pool.calls.filter(({ method }) => method === 'tools/call');
  expect(empty?.params).toEqual({ _meta: { 'mcp-poolkit/call': 'c1' } });
  expect(second?.options.paramsText).toBe(`{"_meta":{"mcp-poolkit/call":"c2"},${big.slice(1)}`);
});

test('what a gateway hands to the wrong session convicts it', async () => {
  const told: string[] = [];
  const session = (key: string) => ({
    key,
    era: 'legacy',
    notify: () => void told.push(key),
    tell: () => undefined,
  });
  const [alice, bob] = [session('alice'), session('bob')];
  // A gateway that hands what is about one session to another.
  const endpoint = {
    request: async (_: object, __: string, params: object, ___: object) => params,
    relay: (to: typeof bob, params: object) =>
      (to.notify as (method: string, params: object) => void)('n/said', params),
    listen: () => undefined,
  };
  const target = {
    listen: async () => ({ url: '' }),
    announce: () => undefined,
    close: async () => undefined,
    onEndpoint: (listener: (each: object, server: string) => void) => listener(endpoint, 'one'),
  };
  const history = new History();
  record(target, history);
  const params = await endpoint.request(alice, 'tools/call', { name: 'echo' }, {});
  endpoint.relay(bob, params);
  expect(told).toEqual(['bob']);
  expect(check(history).violations).toMatchObject([{ rule: 'wrong-receiver', call: 'c1' }]);
});

test('what is no gateway of the toolkit is refused', () => {
  const target = { listen: async () => ({ url: '' }), announce: () => undefined, close: async () => undefined };
  expect(() => record(target, new History())).toThrow(OptionError);
});
