import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { expect, test } from 'vitest';
import { RpcError } from '../../src/core/errors.js';
import type { Cancellation } from '../../src/core/wait/Cancellation.js';
import { type Away, type Crowding, GivingWay } from '../../src/gateway/bridge/GivingWay.js';
import { ModernOverLegacy } from '../../src/gateway/bridge/ModernOverLegacy.js';
import type { CallOptions } from '../../src/gateway/endpoint/Endpoint.js';
import { Gateway } from '../../src/gateway/Gateway.js';
import { HeldBytes } from '../../src/gateway/http/HeldBytes.js';
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
    for (let at = 0; at < count; at++)
      away.set(`${owner}${at}`, { owner, server, isRunning: true, id: `${owner}${at}` });
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

/** Calls of a tool that asks, straight to the bridge. */
function bridge(maxBytes: number) {
  const clock = new FakeClock();
  const held = new HeldBytes(maxBytes);
  const calls = new ModernOverLegacy(clock, held, () => undefined);
  const request = async (owner: string, bytes = 0, requestState?: string): Promise<unknown> => {
    const client = { capabilities: { sampling: {} } };
    const call = { client, paramsText: 'x'.repeat(bytes / 2) } as unknown as CallOptions;
    const params = {
      name: 'ask',
      ...(requestState !== undefined && { requestState, inputResponses: { 'request-1': {} } }),
    };
    const send = async (_: unknown, { onRequest, signal }: CallOptions): Promise<unknown> => {
      const control = signal as Cancellation;
      const answer = onRequest?.({ method: 'sampling/createMessage', params: {} } as never, control);
      return { content: [], asked: await Promise.race([answer, aborted(control)]) };
    };
    const result = await calls.request({ server: 's', method: 'tools/call', params, call, owner, send });
    return result instanceof Uint8Array ? JSON.parse(Buffer.from(result).toString()) : result;
  };
  return { request, calls, held };
}

const aborted = ({ signal }: Cancellation): Promise<never> =>
  new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));

test('where all places of calls that wait are taken, the oldest of the client that has most makes room', async () => {
  const { request, calls } = bridge(64 * 2 ** 20);
  const states: string[] = [];
  const asked = async (owner: string): Promise<string> => stateOf(JSON.stringify(await request(owner)));
  const other = await asked('other');
  for (let at = 0; at < 999; at++) states.push(await asked('many'));
  const [one, two] = [await asked('one'), await asked('one')];
  for (const state of states.slice(0, 2)) await expect(request('many', 0, state)).rejects.toThrow('its call is over');
  expect(await request('many', 0, states[2])).toMatchObject({ resultType: 'complete' });
  for (const state of [other, one, two]) expect(await request('x', 0, state)).toMatchObject({ resultType: 'complete' });
  calls.close(new Error('over'));
});

test('where the bytes are taken, a client that holds more makes room; what has begun is not told as if it had not', async () => {
  const { request, calls, held } = bridge(100_000);
  const large = stateOf(JSON.stringify(await request('large', 80_000)));
  const small = stateOf(JSON.stringify(await request('small', 10_000)));
  const error = await request('huge', 95_000).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(RpcError);
  expect(error).toMatchObject({ retryable: false, acted: 'answered' });
  expect(await request('mid', 40_000)).toMatchObject({ resultType: 'input_required' });
  await expect(request('large', 0, large)).rejects.toThrow('its call is over');
  expect(await request('small', 0, small)).toMatchObject({ resultType: 'complete' });
  calls.close(new Error('over'));
  await expect.poll(() => held.held).toBe(0);
});
