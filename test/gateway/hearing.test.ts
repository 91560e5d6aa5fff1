import { request } from 'node:http';
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { silentLogger } from '../../src/core/logger.js';
import { Gateway } from '../../src/gateway/Gateway.js';
import { UnifiedPool } from '../../src/pool/UnifiedPool.js';
import type { Sharing } from '../../src/registry/config/ServerConfig.js';
import { closeAfter } from '../support/closeAfter.js';
import { EventReader, exchange, type Message, messagesOf, RawClient } from '../support/httpClient.js';
import { freePort, serverChild } from '../support/httpServers.js';
import { fixture } from '../support/servers.js';

// Programs start here, and the machine may be busy.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

/**
 * Who hears what a real server says beside its answers: every kind of notification, on every kind of sharing, over every
 * front. `caller` is the client of the call in which it was said.
 */
const SERVER = fixture('telling-server.mjs');
const FRONTS = ['/servers/s/mcp', '/mcp'] as const;
type Front = (typeof FRONTS)[number];
type Era = 'legacy' | 'modern';

const LISTS = ['tools', 'prompts', 'resources'].map((kind) => `notifications/${kind}/list_changed`);
const NOTICES: readonly Message[] = [
  { method: 'notifications/message', params: { level: 'alert', data: 'secret' } },
  { method: 'notifications/custom', params: { secret: 1 } },
  { method: 'notifications/elicitation/complete', params: { elicitationId: 'secret' } },
  { method: 'notifications/tasks/status', params: { taskId: 'secret', status: 'working' } },
  { method: 'notifications/resources/updated', params: { uri: 'secret:1' } },
  { method: 'notifications/progress', params: { progressToken: 'secret', progress: 1 } },
  { method: 'notifications/cancelled', params: { requestId: 'secret' } },
  ...LISTS.map((method) => ({ method })),
];

interface Listener {
  readonly era: Era;
  readonly front: Front;
  /** What it heard, on its own stream and beside its answers; `lists`: not before it has heard of all three. */
  heard(lists: boolean): Promise<readonly string[]>;
  say(where: string): Promise<void>;
}

const VERSION = '2026-07-28';
const META = 'io.modelcontextprotocol';

const methodsOf = (messages: readonly Message[]): string[] =>
  messages.flatMap(({ method }) => (method?.startsWith('notifications/') === true ? [method] : []));

const hasAll = (messages: () => readonly Message[], methods: readonly string[]): Promise<void> =>
  expect.poll(() => methodsOf(messages()), { timeout: 10_000 }).toEqual(expect.arrayContaining([...methods]));

const toolOf = (front: Front): string => (front === '/mcp' ? 's__say' : 'say');

async function legacy(url: string, front: Front): Promise<Listener> {
  const client = new RawClient(url + front);
  await client.initialize();
  await client.call('logging/setLevel', { level: 'debug' });
  const reader = await client.listen();
  const beside: Message[] = [];
  return {
    era: 'legacy',
    front,
    async say(where) {
      const params = { name: toolOf(front), arguments: { notices: NOTICES, where } };
      const { messages } = await client.send({ jsonrpc: '2.0', id: 'say', method: 'tools/call', params });
      expect(messages.find(({ id }) => id === 'say')).toMatchObject({ result: { content: [] } });
      beside.push(...messages);
    },
    async heard(lists) {
      if (lists) await hasAll(() => [...beside, ...reader.messages], LISTS);
      // The end of the session comes down the stream behind all that was said on it.
      await exchange(client.url, { method: 'DELETE', headers: client.headers });
      await reader.ended;
      return methodsOf([...beside, ...reader.messages]);
    },
  };
}

/** Its stream asks for all list changes; log messages come beside the answer of a call that asks for a level. */
async function modern(url: string, front: Front): Promise<Listener> {
  const meta = {
    [`${META}/protocolVersion`]: VERSION,
    [`${META}/clientCapabilities`]: {},
    [`${META}/logLevel`]: 'debug',
  };
  const headersOf = (method: string, name?: string) => ({
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
    'mcp-protocol-version': VERSION,
    'mcp-method': method,
    ...(name === undefined ? {} : { 'mcp-name': name }),
  });
  const notifications = { toolsListChanged: true, promptsListChanged: true, resourcesListChanged: true };
  const method = 'subscriptions/listen';
  const body = JSON.stringify({ jsonrpc: '2.0', id: 'listen', method, params: { notifications, _meta: meta } });
  const reader = await new Promise<EventReader>((resolve, reject) => {
    request(url + front, { method: 'POST', headers: headersOf(method), agent: false }, (incoming) =>
      resolve(new EventReader(incoming.setEncoding('utf8'))),
    )
      .on('error', reject)
      .end(body);
  });
  await reader.has(1);
  const beside: Message[] = [];
  return {
    era: 'modern',
    front,
    async say(where) {
      const name = toolOf(front);
      const params = { name, arguments: { notices: NOTICES, where }, _meta: meta };
      const { text } = await exchange(url + front, {
        headers: headersOf('tools/call', name),
        body: JSON.stringify({ jsonrpc: '2.0', id: 'say', method: 'tools/call', params }),
      });
      const messages = messagesOf(text);
      expect(messages.find(({ id }) => id === 'say')).toMatchObject({ result: { content: [] } });
      beside.push(...messages);
    },
    async heard(lists) {
      if (lists) await hasAll(() => [...beside, ...reader.messages], LISTS);
      await reader.stop();
      return methodsOf([...beside, ...reader.messages]).filter((each) => !each.startsWith('notifications/subscr'));
    },
  };
}

/** What the gateway or the pool could not do, which is nothing. */
const failed = vi.fn();
afterEach(() => expect(failed).not.toHaveBeenCalled());

let port: number;
beforeAll(async () => {
  port = await freePort();
});

async function start(transport: 'stdio' | 'http', sharing: Sharing): Promise<string> {
  const pool = closeAfter(new UnifiedPool({ ledger: false, logger: { ...silentLogger, error: failed } }));
  if (transport === 'http') await serverChild([SERVER], port, '/mcp');
  pool.addServer(
    transport === 'stdio'
      ? { name: 's', transport, command: process.execPath, args: [SERVER], sharing }
      : { name: 's', transport, url: `http://127.0.0.1:${port}/mcp`, sharing },
  );
  return (await closeAfter(new Gateway({ pool, port: 0 })).listen()).url;
}

const PLACES = [
  ['stdio', 'call'],
  ['http', 'call'],
  ['http', 'session'],
] as const;
const SHARINGS: readonly Sharing[] = ['shared', 'leased', 'bound'];
/** What may be about a single caller. */
const SECRETS = NOTICES.flatMap(({ method = '' }) => (LISTS.includes(method) ? [] : [method]));
/** What its caller must be told of it, where it is known whose it is: the rest belongs to other calls, or to subscriptions. */
const OWED = ['notifications/message', 'notifications/elicitation/complete', 'notifications/tasks/status'];

describe.each(PLACES)('over %s, on the stream of the %s', (transport, where) => {
  test.each(SHARINGS)('what a %s server says is heard by the client it is for, and by no other', async (sharing) => {
    const url = await start(transport, sharing);
    for (const era of ['legacy', 'modern'] as const) {
      for (const front of FRONTS) {
        const caller = await (era === 'legacy' ? legacy : modern)(url, front);
        const others = await Promise.all(FRONTS.flatMap((each) => [legacy(url, each), modern(url, each)]));
        await caller.say(where);
        // A changed list concerns all who share the connection; one of its own, its own client. Modern ones may have another.
        const own = await caller.heard(era === 'legacy' && sharing !== 'leased');
        const heard = await Promise.all(
          others.map(async (each) => ({
            ...each,
            heard: await each.heard(each.era === 'legacy' && sharing === 'shared'),
          })),
        );
        for (const each of heard) {
          expect(each.heard.filter((method) => SECRETS.includes(method))).toEqual([]);
          if (sharing === 'bound') expect(each.heard).toEqual([]);
          expect(new Set(each.heard).size).toBe(each.heard.length);
        }
        expect(new Set(own).size).toBe(own.length);
        const known = where === 'call' && !(transport === 'stdio' && era === 'modern');
        // On stdio nothing says whose a task is that no call was given, or what no client was to open.
        const owed = transport === 'stdio' ? OWED.slice(0, 1) : OWED;
        if (known) expect(own).toEqual(expect.arrayContaining(owed));
      }
    }
  });
});

test('in the aggregate, what a bound server says goes down the streams of its own calls, or the client’s, not of calls elsewhere', async () => {
  const pool = closeAfter(new UnifiedPool({ ledger: false, logger: { ...silentLogger, error: failed } }));
  const of = (name: string) => ({ transport: 'stdio', command: process.execPath, args: [fixture(name)] }) as const;
  pool.addServer({ name: 's', ...of('telling-server.mjs'), sharing: 'bound' });
  pool.addServer({ name: 'slow', ...of('levels-server.mjs') });
  const gateway = closeAfter(new Gateway({ pool, port: 0 }));
  // It makes options of its own.
  gateway.use((_, next) => next());
  const client = new RawClient(`${(await gateway.listen()).url}/mcp`);
  await client.initialize();
  const say = async (data: string, where: string): Promise<readonly unknown[]> => {
    const notices = [{ method: 'notifications/message', params: { level: 'alert', data } }];
    const params = { name: 's__say', arguments: { notices, where } };
    const { messages } = await client.send({ jsonrpc: '2.0', id: 'say', method: 'tools/call', params });
    return messages.map(({ id, params }) => id ?? params?.['data']);
  };
  expect(await say('later', 'later')).toEqual(['say']);
  await client.call('tools/call', { name: 'slow__log', arguments: {} });
  const stream = await client.listen();
  const elsewhere = client.call('tools/call', { name: 'slow__log', arguments: { ms: 600_000 } });
  await expect.poll(() => pool.stats('slow').inFlight).toBe(1);
  await client.send({ jsonrpc: '2.0', method: 'notifications/roots/list_changed' });
  expect((await stream.has(1))[0]).toMatchObject({ params: { data: 'later' } });
  expect(await say('mine', 'call')).toEqual(['mine', 'say']);
  await exchange(client.url, { method: 'DELETE', headers: client.headers });
  expect(await elsewhere).toMatchObject({ error: { data: { code: 'ERR_OUTCOME_UNKNOWN' } } });
  await stream.ended;
});
