import { existsSync } from 'node:fs';
import { type IncomingHttpHeaders, request } from 'node:http';
import { resolve } from 'node:path';
import parse from 'parse-prometheus-text-format';
import { expect, test } from 'vitest';
import { OptionError } from '../../../src/core/errors.js';
import { Gateway } from '../../../src/gateway/Gateway.js';
import type { GatewayOptions } from '../../../src/gateway/GatewayOptions.js';
import { refusalOf } from '../../../src/gateway/status/refusal.js';
import type { StatusData } from '../../../src/gateway/status/StatusData.js';
import { UnifiedPool } from '../../../src/pool/UnifiedPool.js';
import { closeAfter } from '../../support/closeAfter.js';
import { RawClient } from '../../support/httpClient.js';
import { RawSocket } from '../../support/tcp.js';

interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

/** One HTTP exchange with exactly these headers; `fetch` would set `Host` and others itself. */
function exchange(
  url: string,
  { method = 'POST', headers = {}, body }: { method?: string; headers?: Record<string, string>; body?: string },
): Promise<Reply> {
  return new Promise((done, failed) => {
    const outgoing = request(url, { method, headers, agent: false }, (incoming) => {
      let text = '';
      incoming.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      incoming.on('end', () => done({ status: incoming.statusCode ?? 0, headers: incoming.headers, text }));
    });
    outgoing.on('error', failed).end(body);
  });
}

const SERVER = {
  name: 'one',
  transport: 'stdio',
  command: process.execPath,
  args: [resolve('test/fixtures/status-server.mjs')],
} as const;

async function serve(options: Partial<GatewayOptions> = {}) {
  const pool = closeAfter(new UnifiedPool({ ledger: false, backoff: { initialMs: 1 } }));
  pool.addServer(SERVER);
  const gateway = closeAfter(new Gateway({ pool, port: 0, ...options }));
  const { url } = await gateway.listen();
  return { pool, gateway, url, get: (path: string, headers = {}) => exchange(url + path, { method: 'GET', headers }) };
}

const dataOf = ({ text }: Reply): StatusData => JSON.parse(text) as StatusData;

/** An open page, as its browser hears it. */
class Page {
  readonly heard: { readonly event: string; readonly data: Record<string, unknown> }[] = [];
  readonly #control = new AbortController();
  ended = false;

  static async open(url: string): Promise<Page> {
    const page = new Page();
    const response = await fetch(`${url}/status/events`, { signal: page.#control.signal });
    expect([response.status, response.headers.get('content-type')]).toEqual([200, 'text/event-stream']);
    void page.#read(response).catch(() => undefined);
    return page;
  }

  async #read(response: Response): Promise<void> {
    let rest = '';
    for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
      const pieces = (rest + chunk).split('\n\n');
      rest = pieces.pop() ?? '';
      for (const piece of pieces) {
        const [, event, data] = /^event: (\w+)\ndata: (.*)$/.exec(piece) ?? [];
        if (event !== undefined) this.heard.push({ event, data: JSON.parse(data ?? '') as Record<string, unknown> });
      }
    }
    this.ended = true;
  }

  get token(): string {
    return String(this.heard.find(({ event }) => event === 'hello')?.data['token']);
  }

  close(): void {
    this.#control.abort();
  }
}

async function opened(url: string): Promise<Page> {
  const page = await Page.open(url);
  await expect.poll(() => page.heard.length).toBeGreaterThan(0);
  return page;
}

const act = (url: string, body: object, headers: Record<string, string>): Promise<Reply> =>
  exchange(`${url}/status/act`, {
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });

test('the data names every server and every open call; a scrape is there when asked for', async () => {
  const limiter = { stats: () => ({ blockedCount: 3, pausedForMs: 2_000 }) };
  const { pool, url, get } = await serve({ status: { metrics: true, limiter } });
  expect((await get('/metrics')).text).toContain('mcp_poolkit_limiter_paused_seconds{server="one"} 2');
  await pool.startServer('one');
  await pool.callTool('one', 'echo', { text: 'x' });
  const client = new RawClient(`${url}/servers/one/mcp`);
  await client.initialize();
  const slow = client.call('tools/call', { name: 'slow', arguments: { ms: 60_000 } });
  await expect.poll(async () => dataOf(await get('/status/data.json')).snapshot.open.length).toBe(1);
  const answer = await get('/status/data.json');
  expect(answer.headers).toMatchObject({ 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' });
  const { snapshot } = dataOf(answer);
  const present = dataOf(await get('/status/data.json?history=none'));
  expect([present.history, present.snapshot.open.length]).toEqual([{ times: [], servers: {} }, 1]);
  expect(snapshot.servers).toMatchObject([
    {
      name: 'one',
      state: 'ready',
      era: 'legacy',
      transport: 'stdio',
      connections: 1,
      calls: 1,
      errors: 0,
      inFlight: 1,
    },
  ]);
  expect(snapshot.open).toMatchObject([
    { method: 'tools/call', target: 'slow', at: [{ server: 'one', sent: true, attempt: 1 }] },
  ]);
  expect(snapshot.gateway).toMatchObject({ sessions: 1, refusing: false });
  const scraped = parse((await get('/metrics')).text) as { readonly name: string }[];
  expect(scraped.find(({ name }) => name === 'mcp_poolkit_calls_in_flight')).toMatchObject({
    metrics: [{ value: '1' }],
  });
  // A scraper asks by address.
  expect((await get('/metrics', { host: '10.1.2.3:3399' })).status).toBe(200);
  expect((await get('/status', { host: '10.1.2.3:3399' })).status).toBe(403);
  // An operator ends it: its client is told, and so is what happened.
  const page = await opened(url);
  const [open] = snapshot.open;
  const done = await act(url, { action: 'cancel', id: open?.id }, { 'x-poolkit-token': page.token });
  expect(JSON.parse(done.text)).toEqual({ result: { cancelled: true } });
  expect((await slow).error?.message).toMatch(/an operator cancelled it/);
  const told = dataOf(await get('/status/data.json')).events.at(-1);
  expect(told).toMatchObject({ kind: 'operator', server: 'one', text: 'tools/call slow cancelled on the page' });
  page.close();
});

test('an open page hears of a crash at once; a stopping gateway ends it', async () => {
  const { pool, gateway, url } = await serve();
  await pool.startServer('one');
  const page = await opened(url);
  await pool.callTool('one', 'crash').catch(() => undefined);
  await expect.poll(() => page.heard.map(({ data }) => data['kind'])).toContain('crashed');
  const crash = page.heard.find(({ data }) => data['kind'] === 'crashed');
  expect(crash).toMatchObject({ event: 'event', data: { server: 'one', text: expect.stringContaining('code 3') } });
  await expect.poll(() => page.heard.map(({ event }) => event)).toContain('snapshot');
  await gateway.close();
  await expect.poll(() => page.ended).toBe(true);
});

test('it acts only with the token of its own page: restart, stop, start, a tool tried', async () => {
  const { pool, url, get } = await serve();
  await pool.startServer('one');
  const page = await opened(url);
  const ours = { 'x-poolkit-token': page.token };
  for (const bad of [{}, { 'x-poolkit-token': '' }, { 'x-poolkit-token': `${page.token.slice(0, -1)}!` }]) {
    expect((await act(url, { action: 'stop', server: 'one' }, bad)).status).toBe(403);
  }
  const foreign: readonly Record<string, string>[] = [
    { origin: 'http://evil.example' },
    { origin: 'http://localhost:1' },
    { origin: 'null' },
    { 'sec-fetch-site': 'cross-site' },
    { 'sec-fetch-site': 'same-site' },
  ];
  for (const headers of foreign) {
    expect(
      (await act(url, { action: 'stop', server: 'one' }, { ...ours, ...headers })).status,
      JSON.stringify(headers),
    ).toBe(403);
    const read = await get('/status/data.json', headers);
    expect([read.status, read.text]).toEqual([403, '']);
  }
  // A page of an allowed origin may call /mcp, and still is told nothing here.
  const read = await get('/status/data.json', { origin: 'http://localhost:5173' });
  expect([read.status, read.headers['access-control-allow-origin']]).toEqual([403, undefined]);
  expect(pool.state('one')).toBe('ready');
  const result = async (body: object): Promise<Record<string, unknown>> =>
    JSON.parse((await act(url, body, ours)).text) as Record<string, unknown>;
  const [pid] = pool.stats('one').pids;
  expect(await result({ action: 'restart', server: 'one' })).toEqual({});
  expect(pool.stats('one').pids).not.toEqual([pid]);
  const called = await result({ action: 'call', server: 'one', tool: 'echo', arguments: { text: 'hi' } });
  expect(called['result']).toEqual({ content: [{ type: 'text', text: 'hi' }] });
  expect(JSON.parse((await get('/status/tools?server=one')).text)).toMatchObject({
    tools: [{ name: 'echo' }, {}, {}, {}, {}],
  });
  await result({ action: 'stop', server: 'one' });
  expect(pool.state('one')).toBe('stopped');
  expect(await result({ action: 'call', server: 'one', tool: 'echo' })).toMatchObject({ code: 'ERR_SERVER_STOPPED' });
  await result({ action: 'start', server: 'one' });
  expect(pool.state('one')).toBe('ready');
  expect(await result({ action: 'restart', server: 'none' })).toMatchObject({ code: 'ERR_SERVER_NOT_FOUND' });
  expect(await result({ action: 'burn' })).toMatchObject({ error: expect.stringContaining('action must be') });
  expect(
    (await exchange(`${url}/status/act`, { headers: { 'content-type': 'application/json', ...ours }, body: '{' }))
      .status,
  ).toBe(400);
  expect((await exchange(`${url}/status/act`, { method: 'GET', headers: ours })).status).toBe(405);
  page.close();
});

test('each try of a tool of a bound server has a session of its own, so that one that ends ends no other', async () => {
  const { pool, url } = await serve({ status: true });
  pool.addServer({ ...SERVER, name: 'own', sharing: 'bound' });
  const page = await opened(url);
  const ours = { 'x-poolkit-token': page.token };
  const call = async (tool: string, given: object): Promise<unknown> =>
    JSON.parse((await act(url, { action: 'call', server: 'own', tool, arguments: given }, ours)).text);
  const slow = call('slow', { ms: 600 });
  await expect.poll(() => pool.stats('own').inFlight).toBe(1);
  expect(await call('echo', { text: 'hi' })).toEqual({ result: { content: [{ type: 'text', text: 'hi' }] } });
  expect(await slow).toMatchObject({ result: { content: [{ type: 'text' }] } });
  await exchange(`${url}/status/tools?server=own`, { method: 'GET' });
  expect(pool.stats('own').connections).toBe(0);
  page.close();
});

test('off, without actions, and where others could reach it', async () => {
  const off = await serve({ status: false });
  for (const path of ['/status', '/status/data.json', '/metrics']) expect((await off.get(path)).status, path).toBe(404);
  const still = await serve({ status: { actions: false } });
  expect((await still.get('/metrics')).status).toBe(404);
  expect((await act(still.url, { action: 'stop', server: 'one' }, {})).status).toBe(405);
  expect((await still.get('/status/tools?server=one')).status).toBe(404);
  const page = await opened(still.url);
  expect(page.heard[0]?.data).toMatchObject({ token: null, actions: false });
  page.close();
  const pool = closeAfter(new UnifiedPool({ ledger: false }));
  const elsewhere = { pool, port: 0, host: '0.0.0.0', allowedHosts: ['gateway.example'] };
  const closed = closeAfter(new Gateway(elsewhere));
  const { port } = await closed.listen();
  expect((await exchange(`http://127.0.0.1:${port}/status`, { method: 'GET' })).status).toBe(404);
  expect(() => new Gateway({ ...elsewhere, status: true })).toThrow(/status.authenticate/);
  expect(() => new Gateway({ ...elsewhere, status: { page: true } })).toThrow(OptionError);
  expect(() => new Gateway({ pool, status: { action: true } } as never)).toThrow(/did you mean|action/);
  expect(() => new Gateway({ pool, status: 'yes' } as never)).toThrow(/status/);
});

test('without `authenticate` it is for this machine alone, also where a front on it hands on what others ask', async () => {
  const PAGES = ['/status', '/status/data.json', '/status/events', '/status/act', '/status/tools?server=one'];
  const { get } = await serve({ allowedHosts: ['gateway.example'], status: { metrics: true } });
  for (const path of PAGES) {
    const { status, text } = await get(path, { host: 'gateway.example' });
    expect([path, status, text]).toEqual([path, 403, expect.stringContaining('status.authenticate')]);
  }
  for (const name of ['x-forwarded-for', 'forwarded', 'via'])
    expect((await get('/status/data.json', { [name]: 'x' })).status, name).toBe(403);
  for (const host of ['localhost', 'LOCALHOST:3399', '127.0.0.1:1', '[::1]:3399'])
    expect((await get('/status/data.json', { host })).status, host).toBe(200);
  expect((await get('/metrics', { host: 'gateway.example' })).status).toBe(200);
  const asked = await serve({ allowedHosts: ['gateway.example'], status: { authenticate: () => true } });
  expect((await asked.get('/status/data.json', { host: 'gateway.example', via: 'x' })).status).toBe(200);
});

test('where there are users the page is there only for those it lets in, since it shows the calls of all', async () => {
  const authenticate = async () => ({ principal: 'p' });
  const { get } = await serve({ authenticate });
  for (const path of ['/status', '/status/data.json', '/metrics']) expect((await get(path)).status, path).toBe(404);
  const pool = closeAfter(new UnifiedPool({ ledger: false }));
  expect(() => new Gateway({ pool, authenticate, status: true })).toThrow(/status.authenticate/);
  const asked = await serve({ authenticate, status: { authenticate: () => false } });
  expect((await asked.get('/status')).status).toBe(401);
});

test('a token that is none is refused, whatever its characters', async () => {
  const { url } = await serve();
  for (const token of ['', 'x', 'é'.repeat(16), 'é'.repeat(32), 'x'.repeat(32)]) {
    expect((await act(url, { action: 'cancel', id: 'x' }, { 'x-poolkit-token': token })).status).toBe(403);
  }
});

test('with `authenticate` it is there elsewhere and below a host’s path, for those it lets in', async () => {
  const { createServer } = await import('node:http');
  const authenticate = async ({ headers }: { readonly headers: Record<string, unknown> }): Promise<boolean> =>
    headers['authorization'] === 'Bearer right';
  const { gateway, get } = await serve({ status: { authenticate, metrics: true } });
  for (const path of ['/status', '/status/data.json', '/status/events', '/metrics']) {
    const refused = await get(path);
    expect([refused.status, refused.text], path).toEqual([401, '']);
    expect(refused.headers['www-authenticate']).toMatch(/^Basic /);
  }
  expect((await get('/status/data.json', { authorization: 'Bearer right' })).status).toBe(200);
  const host = createServer((request, response) => {
    request.url = request.url?.replace('/tools/mcp-proxy', '') ?? '';
    gateway.handler(request, response);
  });
  await new Promise<void>((done) => host.listen(0, '127.0.0.1', done));
  const { port } = host.address() as { readonly port: number };
  const below = `http://127.0.0.1:${port}/tools/mcp-proxy/status/data.json`;
  expect((await exchange(below, { method: 'GET' })).status).toBe(401);
  expect((await exchange(below, { method: 'GET', headers: { authorization: 'Bearer right' } })).status).toBe(200);
  host.closeAllConnections();
  await new Promise((done) => host.close(done));
});

test('only a page of this origin, a browser’s own window or no browser may ask', () => {
  const of = (headers: Record<string, string>, method = 'GET') =>
    refusalOf({ headers: { host: 'localhost:3399', ...headers }, method } as never);
  expect(of({})).toBeUndefined();
  expect(of({ origin: 'http://localhost:3399', 'sec-fetch-site': 'same-origin' }, 'POST')).toBeUndefined();
  expect(of({ 'sec-fetch-site': 'none' })).toBeUndefined();
  const link = { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' };
  expect(of(link)).toBeUndefined();
  expect(of(link, 'POST')).toBe(403);
  expect(of({ ...link, 'sec-fetch-dest': 'iframe' })).toBe(403);
  expect(of({ 'sec-fetch-site': 'same-site' })).toBe(403);
  expect(of({ origin: 'http://localhost:3400' })).toBe(403);
});

test.skipIf(!existsSync('dist/gateway/status/page.html'))(
  'the built page is one file that may load nothing',
  async () => {
    const { Gateway: Built } = (await import('mcp-poolkit/gateway')) as unknown as { Gateway: typeof Gateway };
    const pool = closeAfter(new UnifiedPool({ ledger: false }));
    const gateway = closeAfter(new Built({ pool, port: 0 }));
    const { url } = await gateway.listen();
    const page = await exchange(`${url}/status`, { method: 'GET' });
    expect(page.status).toBe(200);
    expect(Buffer.byteLength(page.text)).toBeLessThan(120 * 1_024);
    expect(page.text).not.toMatch(/<(?:script|link|img|iframe)[^>]+(?:src|href)="(?!data:)/);
    expect(page.headers['content-security-policy']).toMatch(
      /^default-src 'none'; script-src 'sha256-[^']+'; style-src 'sha256-/,
    );
    expect(page.headers['x-frame-options']).toBe('DENY');
  },
);

test('of what a client sends behind an answer that it does not read nothing is made before its turn, and it counts as held', async () => {
  let asked = 0;
  const authenticate = (): boolean => ++asked > 0;
  const status = { page: true, metrics: true, authenticate };
  const { gateway, url } = await serve({ status, maxBufferedBytes: 512 * 1_024 });
  const get = (path: string): string => `GET ${path} HTTP/1.1\r\nhost: localhost\r\n\r\n`;
  const begin = (): RawSocket => {
    const socket = new RawSocket(Number(new URL(url).port));
    // An answer without an end.
    socket.send(
      get('/status/events') + get('/metrics').repeat(20) + get('/status/data.json') + get('/readyz').repeat(20),
    );
    return socket;
  };
  const cut = begin();
  await expect.poll(() => gateway.stats.heldBytes).toBe(41 * 8 * 1_024);
  expect(asked).toBe(1);
  cut.send(get('/metrics').repeat(30));
  await cut.over();
  await expect.poll(() => gateway.stats.heldBytes).toBe(0);
  expect(asked).toBe(1);
  const read = begin();
  await expect.poll(() => gateway.stats.heldBytes).toBe(41 * 8 * 1_024);
  gateway.endStreams();
  const text = await read.until((all) => all.split('"checks":').length === 21);
  expect(text.split('\nmcp_poolkit_gateway_held_bytes ').length).toBe(21);
  expect(text.split('"snapshot":').length).toBe(3);
  expect(asked).toBe(1 + 22);
  await expect.poll(() => gateway.stats.heldBytes).toBe(0);
});

test('a scrape that many ask for at once is made once or twice for all of them, and each is whole', async () => {
  let scrapes = 0;
  const limiter = {
    stats: () => {
      scrapes++;
      return { blockedCount: scrapes, pausedForMs: 0 };
    },
  };
  const { url, get } = await serve({ status: { metrics: true, limiter } });
  expect((await get('/metrics')).status).toBe(200);
  const sockets = await Promise.all(
    Array.from({ length: 40 }, async () => {
      const socket = new RawSocket(Number(new URL(url).port));
      socket.send('GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n');
      await socket.until((text) => text.includes('"checks":'));
      return socket;
    }),
  );
  for (const socket of sockets) socket.send('GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n');
  const last = /^mcp_poolkit_gateway_held_bytes \d+$/m;
  const texts = await Promise.all(sockets.map((socket) => socket.until((text) => last.test(text))));
  const told = texts.map((text) => Number(/^mcp_poolkit_limiter_waiting\{server="one"\} (\d+)$/m.exec(text)?.[1]));
  expect(Math.max(...told)).toBe(scrapes);
  expect(scrapes).toBeLessThan(10);
  // What is asked now is told of now.
  const [one] = sockets;
  one?.send('GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n');
  await one?.until((text) => text.split('\nmcp_poolkit_gateway_held_bytes ').length === 3);
  expect(scrapes).toBe(Math.max(...told) + 1);
  for (const socket of sockets) await socket.close();
});

test('a page that has left before it was let in takes no stream from others', async () => {
  let asked = 0;
  let letIn = (_: boolean): void => undefined;
  const decided = new Promise<boolean>((resolve) => {
    letIn = resolve;
  });
  const authenticate = (): Promise<boolean> => {
    asked++;
    return decided;
  };
  const { gateway, url } = await serve({ status: { authenticate } });
  const sockets = Array.from({ length: 50 }, () => new RawSocket(Number(new URL(url).port)));
  for (const socket of sockets) socket.send('GET /status/events HTTP/1.1\r\nhost: localhost\r\n\r\n');
  await expect.poll(() => asked).toBe(50);
  for (const socket of sockets) await socket.close();
  await expect.poll(() => gateway.stats.connections).toBe(0);
  letIn(true);
  const page = await opened(url);
  page.close();
});
