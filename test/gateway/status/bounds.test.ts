import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { ServerResponse } from 'node:http';
import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import { Gateway } from '../../../src/gateway/Gateway.js';
import type { GatewayOptions } from '../../../src/gateway/GatewayOptions.js';
import type { StatusData, StatusSnapshot } from '../../../src/gateway/status/StatusData.js';
import { StatusStreams } from '../../../src/gateway/status/StatusStreams.js';
import { Timeline } from '../../../src/gateway/status/Timeline.js';
import type { McpPool } from '../../../src/pool/McpPool.js';
import { UnifiedPool } from '../../../src/pool/UnifiedPool.js';
import { mark } from '../../support/cli.js';
import { closeAfter } from '../../support/closeAfter.js';
import { RawClient } from '../../support/httpClient.js';
import { RawSocket } from '../../support/tcp.js';

const LONG = 'n'.repeat(100_000);
const FRAME_BYTES = 4 * 1_024 * 1_024;

function served(options: Partial<GatewayOptions> = {}) {
  const pool = closeAfter(new UnifiedPool({ ledger: false, backoff: { initialMs: 1 } }));
  pool.addServer({
    name: 'one',
    transport: 'stdio',
    command: process.execPath,
    args: [resolve('test/fixtures/status-server.mjs')],
  });
  return { pool, gateway: closeAfter(new Gateway({ pool, port: 0, ...options })) };
}

const dataOf = async (url: string): Promise<StatusData> => (await fetch(`${url}/status/data.json`)).json() as never;

async function tokenOf(url: string): Promise<string> {
  const page = await fetch(`${url}/status/events`);
  let text = '';
  for await (const chunk of page.body?.pipeThrough(new TextDecoderStream()) ?? []) {
    text += chunk;
    const [, token] = /"token":"([^"]+)"/.exec(text) ?? [];
    if (token !== undefined) return token;
  }
  throw new Error('no token');
}

async function acting(url: string): Promise<(body: string, signal?: AbortSignal) => Promise<Response>> {
  const headers = { 'content-type': 'application/json', 'x-poolkit-token': await tokenOf(url) };
  return (body, signal) => fetch(`${url}/status/act`, { method: 'POST', headers, body, signal: signal ?? null });
}

test('what an action is asked with is held for as long as it runs, and refused beyond', async () => {
  const { gateway } = served({ maxBufferedBytes: 1_000_000 });
  const { url } = await gateway.listen();
  const act = await acting(url);
  const given = { ms: 60_000, pad: 'x'.repeat(30_000) };
  const body = JSON.stringify({ action: 'call', server: 'one', tool: 'slow', arguments: given });
  const page = new AbortController();
  const first = act(body, page.signal).catch((error: unknown) => error);
  await expect.poll(async () => (await dataOf(url)).snapshot.servers[0]?.inFlight).toBe(1);
  expect(gateway.stats.heldBytes).toBeGreaterThan(3 * body.length);
  const second = await act(body, AbortSignal.timeout(5_000));
  expect([second.status, await second.json()]).toEqual([429, { error: expect.stringContaining('try again') }]);
  page.abort();
  await first;
  await expect.poll(() => gateway.stats.heldBytes).toBe(0);
});

test('of an action for a server that is not there nothing is kept, and a long name of one that is there is cut', async () => {
  const { gateway } = served();
  const { url } = await gateway.listen();
  const act = await acting(url);
  for (const action of ['stop', 'start', 'restart', 'call']) {
    const answer = await act(JSON.stringify({ action, server: LONG, tool: LONG }));
    expect(await answer.json()).toMatchObject({ code: 'ERR_SERVER_NOT_FOUND' });
  }
  expect((await dataOf(url)).events).toEqual([]);
  const pool = { on: () => ({ [Symbol.dispose]: () => undefined }) } as unknown as McpPool;
  using timeline = new Timeline(pool, () => undefined);
  timeline.add('operator', LONG, LONG);
  expect(timeline.events).toMatchObject([{ server: LONG.slice(0, 1_024), text: LONG.slice(0, 500) }]);
});

test('a method that a client makes up is kept and told with its first 1,024 characters', async () => {
  const { pool, gateway } = served();
  const { url } = await gateway.listen();
  const told: string[] = [];
  const hear = (message: unknown): void => {
    const { request, call } = message as Record<string, { method: string }>;
    told.push((request ?? call)?.method ?? '');
  };
  const channels = ['mcp-poolkit:request', 'mcp-poolkit:call'];
  for (const each of channels) subscribe(each, hear);
  const client = new RawClient(`${url}/servers/one/mcp`);
  await client.initialize();
  await client.call(LONG);
  await pool.request('one', LONG, {});
  for (const each of channels) unsubscribe(each, hear);
  expect(new Set(told.filter((method) => method.startsWith('nn')))).toEqual(new Set([LONG.slice(0, 1_024)]));
});

test('one event of a page has 4 MiB at most: of the charts and of what happened the oldest are left out', () => {
  const written: string[] = [];
  const response = {
    writableLength: 0,
    once: () => undefined,
    writeHead: () => undefined,
    write: (text: string) => written.push(text),
  } as unknown as ServerResponse;
  const streams = new StatusStreams();
  streams.open(response);
  const newest = (): { readonly bytes: number; readonly data: StatusData & StatusSnapshot } => {
    const text = written.at(-1) ?? '';
    return { bytes: Buffer.byteLength(text), data: JSON.parse(text.slice(text.indexOf('{'))) as never };
  };
  const names = Array.from({ length: 1_000 }, (_, i) => `server ${i}`);
  const times = Array.from({ length: 180 }, (_, i) => i);
  const points = times.map((p50) => ({ calls: 1, errors: 0, p50, p99: p50, inFlight: 1, waiting: 0, memory: 1e9 }));
  const at = names.map((server) => ({ server, sent: true, attempt: 1 }));
  const row = (name: string) => ({ name, lastError: '\u0000'.repeat(100) }) as never;
  const snapshot = { servers: names.map(row), open: [{ id: 'first', at }], openMore: 0 } as unknown as StatusSnapshot;
  const text = '\u0000'.repeat(500);
  const events = Array.from({ length: 300 }, (_, id) => ({ id, at: 0, kind: 'operator' as const, server: null, text }));
  const history = { times, servers: Object.fromEntries(names.map((name) => [name, points])) };
  streams.hello(response, { snapshot, history, events });
  const { bytes, data } = newest();
  expect(bytes).toBeLessThanOrEqual(FRAME_BYTES);
  expect(bytes).toBeGreaterThan(FRAME_BYTES * 0.9);
  expect([data.snapshot.servers.length, data.snapshot.open.length, data.events.length]).toEqual([1_000, 1, 300]);
  const kept = data.history.times;
  expect([kept.at(-1), kept.length > 10, kept.length < 180]).toEqual([179, true, true]);
  for (const line of Object.values(data.history.servers)) {
    expect(line.map((point) => point?.p50)).toEqual(kept);
  }
  // So many calls as no event can have: the oldest are shown.
  const open = Array.from({ length: 100 }, (_, i) => ({ id: `${i}`, at }));
  streams.snapshot({ ...snapshot, open, openMore: 5 } as unknown as StatusSnapshot);
  const shown = newest();
  expect(shown.bytes).toBeLessThanOrEqual(FRAME_BYTES);
  expect(shown.data.open[0]?.id).toBe('0');
  expect(shown.data.open.length + shown.data.openMore).toBe(105);
  streams.send('points', { at: 1, servers: 'x'.repeat(FRAME_BYTES) });
  expect(written).toHaveLength(3);
});

test('a tool that is tried when the grace ends is answered that its outcome is unknown; what comes later is refused', async () => {
  const { pool, gateway } = served();
  const { url } = await gateway.listen();
  const act = await acting(url);
  const slow = act(JSON.stringify({ action: 'call', server: 'one', tool: 'slow', arguments: { ms: 60_000 } }));
  await expect.poll(() => pool.stats('one').inFlight).toBe(1);
  gateway.refuse({ listening: true });
  expect((await act(JSON.stringify({ action: 'restart', server: 'one' }))).status).toBe(503);
  await gateway.close({ graceMs: 50 });
  const answer = await slow;
  expect([answer.status, await answer.json()]).toMatchObject([200, { code: 'ERR_OUTCOME_UNKNOWN' }]);
});

test('the body of an action that has too many values is not read', async () => {
  const { gateway } = served();
  const { url } = await gateway.listen();
  const act = await acting(url);
  expect((await act(`{"action":"x","a":[${'{},'.repeat(300_000)}1]}`)).status).toBe(413);
});

test('a list of tools that no page waits for any more keeps no server', async () => {
  const { pool, gateway } = served();
  const { env, bearers } = mark();
  // It never answers.
  const args = ['-e', 'setInterval(() => undefined, 1_000)'];
  pool.addServer({ name: 'own', transport: 'stdio', command: process.execPath, args, env, sharing: 'bound' });
  const { url } = await gateway.listen();
  const left = new AbortController();
  const asked = fetch(`${url}/status/tools?server=own`, { signal: left.signal }).catch((error: unknown) => error);
  await expect.poll(() => bearers().length).toBe(1);
  left.abort();
  await asked;
  // A list that is waited for has 10 s.
  await expect.poll(() => bearers().length, { timeout: 8_000 }).toBe(0);
});

test('HEAD of the events of a page is headers alone', async () => {
  const { gateway } = served();
  const { port } = await gateway.listen();
  const socket = new RawSocket(port);
  socket.send('HEAD /status/events HTTP/1.1\r\nhost: localhost\r\n\r\nGET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n');
  const text = await socket.until((all) => all.includes('"checks":'));
  expect(text).toMatch(/^HTTP\/1.1 200 OK\r\n[^{]*content-type: text\/event-stream\r\n/i);
  await socket.close();
});
