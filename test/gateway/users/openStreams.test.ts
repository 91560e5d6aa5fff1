import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { expect, test } from 'vitest';
import { ForbiddenError } from '../../../src/core/errors.js';
import { Gateway } from '../../../src/gateway/Gateway.js';
import type { GatewayOptions } from '../../../src/gateway/GatewayOptions.js';
import type { User } from '../../../src/gateway/users/Authenticate.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';
import { closeAfter } from '../../support/closeAfter.js';
import { FakePool } from '../../support/FakePool.js';
import { RawClient } from '../../support/httpClient.js';
import { SseStream } from '../../support/sseStream.js';

const TOKEN = { authorization: 'Bearer alice' };
const EVENTS = { accept: 'text/event-stream' };
const LISTEN = {
  'content-type': 'application/json',
  accept: 'application/json, text/event-stream',
  'mcp-protocol-version': '2026-07-28',
  'mcp-method': 'subscriptions/listen',
};
const META = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientCapabilities': {},
};
const listen = JSON.stringify({
  jsonrpc: '2.0',
  id: 1,
  method: 'subscriptions/listen',
  params: { _meta: META, notifications: { toolsListChanged: true } },
});
/** In it every stream is asked about again, in turns of the event loop. `each`: told of every second. */
async function aMinute(clock: FakeClock, each: () => void = () => undefined): Promise<void> {
  for (let second = 0; second < 62; second++) {
    await clock.advance(1_000);
    for (let turn = 0; turn < 4; turn++) await new Promise((resolve) => setImmediate(resolve));
    each();
  }
}

/** A stream is open once its head is there. */
async function open(url: string, headers: Record<string, string>, body?: string): Promise<{ ended: Promise<unknown> }> {
  const outgoing = request(url, { method: body === undefined ? 'GET' : 'POST', headers, agent: false });
  outgoing.end(body);
  const [incoming] = (await once(outgoing, 'response')) as [IncomingMessage];
  expect(incoming.statusCode).toBe(200);
  return { ended: once(incoming.resume(), 'end') };
}

/** A gateway whose `authenticate` answers as the test says, with a stream of each kind open. */
async function streams(more: Partial<GatewayOptions> = {}) {
  const clock = new FakeClock();
  let answer: () => User | undefined = () => ({ principal: 'alice', subject: 'al' });
  let asked = 0;
  let release: () => void = () => undefined;
  const gate = new Promise<void>((resolve) => {
    release = resolve;
  });
  const pool = new FakePool({
    a: {
      capabilities: { tools: { listChanged: true } },
      lists: { tools: [{ name: 't', inputSchema: { type: 'object' } }] },
      methods: { 'tools/call': () => gate.then(() => ({ content: [] })) },
    },
  });
  const authenticate = async (): Promise<User | undefined> => {
    asked++;
    return answer();
  };
  const gateway = closeAfter(new Gateway({ pool, port: 0, sse: true, clock, authenticate, ...more }));
  const { url } = await gateway.listen();
  const legacy = new RawClient(`${url}/servers/a/mcp`, TOKEN);
  await legacy.initialize();
  const own = await legacy.listen();
  const listening = await open(`${url}/servers/a/mcp`, { ...TOKEN, ...LISTEN }, listen);
  const sse = await SseStream.open(`${url}/servers/a/sse`, TOKEN);
  const params = { protocolVersion: '2024-11-05', capabilities: {}, clientInfo: { name: 'old', version: '1' } };
  await sse.ask(1, { method: 'initialize', params });
  const all = [own.ended, listening.ended, sse.end()];
  let ended = 0;
  for (const each of all) void each.then(() => ended++);
  return {
    clock,
    gateway,
    legacy,
    release,
    url,
    ended: () => ended,
    asked: () => asked,
    says: (next: () => User | undefined) => {
      answer = next;
    },
    allEnded: () => Promise.all(all),
  };
}

const refusals: [string, () => User | undefined][] = [
  ['no user', () => undefined],
  [
    'a token that is not enough',
    () => {
      throw new ForbiddenError('gateway', { why: 'no' });
    },
  ],
  ['another principal', () => ({ principal: 'bob', subject: 'al' })],
  ['another subject', () => ({ principal: 'alice', subject: 'bo' })],
];

test.each(refusals)('%s: open streams end within a minute, a call may finish', async (_name, refused) => {
  const { clock, legacy, release, says, allEnded, gateway } = await streams();
  const call = legacy.call('tools/call', { name: 't', arguments: {} });
  await expect.poll(() => gateway.stats.inFlight).toBeGreaterThan(1);
  says(refused);
  await aMinute(clock);
  await allEnded();
  release();
  expect(await call).toMatchObject({ result: { content: [] } });
  expect(gateway.stats.streams).toBe(0);
});

test('a user who is known still, and an authenticate that fails, keep their streams; the failure is told once', async () => {
  const errors: string[] = [];
  const none = (): void => undefined;
  const logger = { debug: none, info: none, warn: none, error: (_fields: unknown, text: string) => errors.push(text) };
  const { clock, says, asked, ended, allEnded } = await streams({ logger: logger as never });
  const before = asked();
  await aMinute(clock);
  expect(asked() - before).toBeGreaterThanOrEqual(3);
  says(() => {
    throw new Error('the issuer is down');
  });
  await aMinute(clock);
  await aMinute(clock);
  expect(ended()).toBe(0);
  expect(errors).toEqual(['open streams stay: authenticate failed when it was asked about them again']);
  says(() => undefined);
  await aMinute(clock);
  await allEnded();
});

test('streams that were opened at one instant are not asked about at one', async () => {
  const { clock, url, asked } = await streams();
  await Promise.all(Array.from({ length: 40 }, () => open(`${url}/servers/a/mcp`, { ...TOKEN, ...LISTEN }, listen)));
  const each: number[] = [];
  let before = asked();
  await aMinute(clock, () => {
    each.push(asked() - before);
    before = asked();
  });
  expect(each.reduce((a, b) => a + b)).toBeGreaterThanOrEqual(43);
  expect(Math.max(...each)).toBeLessThan(22);
});

test('an open status page ends when status.authenticate says no', async () => {
  let known = true;
  const { clock, url } = await streams({ status: { authenticate: () => known } });
  const page = await open(`${url}/status/events`, EVENTS);
  known = false;
  await aMinute(clock);
  await page.ended;
});
