import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { expect, test } from 'vitest';
import { type Away, type Crowding, GivingWay } from '../../src/gateway/bridge/GivingWay.js';
import { Gateway } from '../../src/gateway/Gateway.js';
import { UnifiedPool } from '../../src/pool/UnifiedPool.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { FakeServer } from '../../src/testing/fake/FakeServer.js';
import { closeAfter } from '../support/closeAfter.js';

/** Calls of modern clients on legacy servers that wait for answers of clients that are away. */

const META = 'io.modelcontextprotocol';
async function start(settings: object) {
  const upstream = new FakeServer({ era: 'legacy' });
  const { url: at } = await upstream.listen();
  const pool = new UnifiedPool();
  pool.addServer({ name: 'u', transport: 'http', url: at, ...settings } as never);
  const gateway = new Gateway({ pool, port: 0 });
  for (const part of [upstream, pool, gateway]) closeAfter(part);
  const url = `${(await gateway.listen()).url}/servers/u/mcp`;
  return async (name: string, capabilities: object, more: object = {}, localAddress = '127.0.0.1') => {
    const headers = {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': 'tools/call',
      'mcp-name': name,
    };
    const outgoing = request(url, { method: 'POST', localAddress, agent: false, headers });
    const _meta = {
      [`${META}/protocolVersion`]: '2026-07-28',
      [`${META}/clientInfo`]: { name: 't', version: '1' },
      [`${META}/clientCapabilities`]: capabilities,
    };
    const params = { name, arguments: { text: 'hi' }, _meta, ...more };
    outgoing.end(JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params }));
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
    let text = '';
    for await (const chunk of response.setEncoding('utf8')) text += chunk;
    return text;
  };
}

const stateOf = (text: string): string => /"requestState":"([^"]+)"/.exec(text)?.[1] ?? text;

test.each([
  ['all slots of a connection', { maxConcurrent: 8 }, () => ({ sampling: {} })],
  ['all connections', { maxConnections: 8 }, (at: number) => ({ sampling: {}, extensions: { x: { at } } })],
])('clients that were asked and are gone hold %s no longer when others wait', async (_, settings, capabilities) => {
  const call = await start(settings);
  const own = await call('ask', { sampling: {} }, {}, '127.0.0.2');
  const asked: string[] = [];
  for (let at = 0; at < 7; at++) asked.push(await call('ask', capabilities(at)));
  for (const each of asked) expect(each).toContain('input_required');
  expect(await call('echo', { sampling: {} }, {}, '127.0.0.3')).toContain('hi');
  expect(await call('echo', capabilities(99), {}, '127.0.0.3')).toContain('hi');
  // The one question of another client can be answered still; the first of the many cannot.
  const answer = { role: 'assistant', model: 'm', content: { type: 'text', text: 'yes' } };
  const inputResponses = { 'request-1': answer };
  const ended = { requestState: stateOf(asked[0] ?? ''), inputResponses };
  expect(await call('ask', capabilities(0), ended)).toContain('its call is over');
  const answered = await call('ask', { sampling: {} }, { requestState: stateOf(own), inputResponses }, '127.0.0.2');
  expect(answered).toContain('"resultType":"complete"');
});

test('calls give way to those that wait: soon those of an owner that has many, late any, and none while no one waits', async () => {
  const clock = new FakeClock();
  const away = new Map<string, Away & { readonly id: string }>();
  let crowding: Crowding | undefined;
  const ended: string[] = [];
  const room = new GivingWay(
    clock,
    away,
    (server) => (server === 's' ? crowding : undefined),
    ({ id }) => {
      away.delete(id);
      ended.push(id);
    },
  );
  const add = (owner: string, count: number, server = 's'): void => {
    for (let at = 0; at < count; at++) away.set(`${owner}${at}`, { owner, server, id: `${owner}${at}` });
    room.watch();
  };
  add('few', 3);
  add('many', 8);
  add('other', 8, 'quiet');
  await clock.advance(60_000);
  expect(ended).toEqual([]);
  crowding = { full: true };
  await clock.advance(750);
  expect(ended).toEqual([]);
  await clock.advance(250);
  expect(ended.splice(0)).toEqual(['many0', 'many1']);
  // Those who waited have what they waited for: the next ones wait anew.
  crowding = undefined;
  await clock.advance(250);
  crowding = { full: true };
  await clock.advance(5_000);
  expect(ended.splice(0)).toEqual(['many2', 'many3', 'many4']);
  await clock.advance(4_500);
  expect(ended).toEqual([]);
  await clock.advance(500);
  expect(ended.splice(0)).toHaveLength(1);
  crowding = { full: false };
  await clock.advance(60_000);
  expect([...away.values()].every(({ server }) => server === 'quiet')).toBe(true);
  away.clear();
  await clock.advance(1_000);
  expect(clock.armedTimers).toBe(0);
  add('few', 1);
  room.close();
  expect(clock.armedTimers).toBe(0);
});
