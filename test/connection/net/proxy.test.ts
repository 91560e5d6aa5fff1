import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { afterEach, expect, test, vi } from 'vitest';
import { proxyAuthorization, proxyFor } from '../../../src/connection/net/sockets/proxyFor.js';
import { HTTPClientPool } from '../../../src/pool/HTTPClientPool.js';
import { closeAfter } from '../../support/closeAfter.js';
import { openHttp } from '../../support/httpServers.js';
import { call, failure, LEGACY } from '../../support/rawCalls.js';
import { type Exchange, RawServer, said } from '../../support/rawServer.js';

afterEach(() => void vi.unstubAllEnvs());

test('which proxy a URL is reached through', () => {
  const at = (url: string, env: Record<string, string>): string | undefined => proxyFor(new URL(url), env)?.href;
  const both = { http_proxy: 'http://p:1', HTTPS_PROXY: 'q:2', no_proxy: 'in.corp, .lan:8080 10.0.0.1' };
  expect(at('http://far.example/mcp', both)).toBe('http://p:1/');
  expect(at('https://far.example/mcp', both)).toBe('http://q:2/');
  expect(at('https://far.example/mcp', { all_proxy: 'http://r:3' })).toBe('http://r:3/');
  for (const url of [
    'http://in.corp',
    'http://a.in.corp:99',
    'http://x.lan:8080',
    'http://10.0.0.1',
    'http://localhost',
    'http://127.0.0.9:1',
    'http://[::1]:1',
    'http://a.localhost',
  ]) {
    expect([url, at(url, both)]).toEqual([url, undefined]);
  }
  expect(at('http://x.lan:81', both)).toBe('http://p:1/');
  expect(at('http://notin.corp.example', both)).toBe('http://p:1/');
  expect(at('http://far.example', { http_proxy: 'http://p:1', NO_PROXY: '*' })).toBeUndefined();
  expect(at('http://far.example', {})).toBeUndefined();
  expect(at('http://far.example', { http_proxy: 'socks5://p:1' })).toBeUndefined();
  expect(proxyAuthorization(new URL('http://u%40x:p%3Aw@p:1'))).toBe(
    `Basic ${Buffer.from('u@x:p:w').toString('base64')}`,
  );
});

/** A forward proxy that leads everything to `port`, and says what it was asked for. */
async function forwardProxy(port: number) {
  const asked: string[] = [];
  const server = createServer((req, res) => {
    asked.push(`${req.method} ${req.url} ${req.headers['proxy-authorization']}`);
    const to = new URL(String(req.url));
    const headers = { ...req.headers, host: to.host };
    fetch(`http://127.0.0.1:${port}${to.pathname}${to.search}`, {
      method: String(req.method),
      headers: { 'content-type': 'application/json', accept: String(headers.accept) },
      ...(req.method === 'POST' && { body: req as never, duplex: 'half' }),
    } as RequestInit)
      .then(async (answer) => {
        res.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? 'text/plain' });
        for await (const chunk of answer.body ?? []) res.write(chunk);
        res.end();
      })
      .catch(() => res.destroy());
  });
  server.on('connect', (req, socket) => {
    asked.push(`CONNECT ${req.url}`);
    const up = connect(port, '127.0.0.1', () => socket.write('HTTP/1.1 200 OK\r\n\r\n'));
    up.on('error', () => socket.destroy());
    socket.on('error', () => up.destroy());
    up.pipe(socket).pipe(up);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closeAfter({
    close: async () => {
      server.closeAllConnections();
      server.close();
    },
  });
  return { asked, url: `http://u:p@127.0.0.1:${(server.address() as AddressInfo).port}` };
}

test('an http URL is asked of the proxy of the environment, whole and with what the proxy wants to know', async () => {
  const server = await RawServer.listen();
  const { asked, url } = await forwardProxy(server.port);
  vi.stubEnv('http_proxy', url);
  const connection = await openHttp('http://mcp.corp.invalid/mcp', LEGACY);
  expect(await call(connection, 'echo', { text: 'far' })).toEqual(said('far'));
  expect(asked[0]).toBe(`POST http://mcp.corp.invalid/mcp Basic ${Buffer.from('u:p').toString('base64')}`);
});

test('an https URL gets a tunnel through the proxy', async () => {
  const server = await RawServer.listen();
  const { asked, url } = await forwardProxy(server.port);
  vi.stubEnv('https_proxy', url);
  // What answers behind the tunnel speaks no TLS: that the tunnel was asked for is what is seen.
  await failure(openHttp('https://mcp.corp.invalid/mcp', LEGACY));
  expect(asked).toContain('CONNECT mcp.corp.invalid:443');
});

test.each(['on its origin', 'behind its proxy'])(
  'a server that answers no reply holds up none to others %s',
  async (where) => {
    const pings = Array.from({ length: 5 }, (_, i) => ({ jsonrpc: '2.0', id: `p${i}`, method: 'ping' }));
    const ask = (exchange: Exchange): void => {
      exchange.sse();
      for (const each of pings) exchange.event(each);
    };
    let unanswered = 0;
    const server = await RawServer.listen({
      tools: { ask, hang: () => undefined },
      before: ({ message, path }) => {
        const isReply = path === '/mcp?bad' && message?.result !== undefined;
        if (isReply) unanswered++;
        return isReply;
      },
    });
    let origin = `http://127.0.0.1:${server.port}`;
    if (where === 'behind its proxy') {
      vi.stubEnv('http_proxy', (await forwardProxy(server.port)).url);
      origin = 'http://mcp.corp.invalid';
    }
    const pool = closeAfter(new HTTPClientPool({ proxyFromEnv: true, maxReplySockets: 2 }));
    for (const name of ['bad', 'good']) {
      pool.addServer({ name, transport: 'http', url: `${origin}/mcp?${name}`, era: 'legacy' });
    }
    const bad = failure(pool.callTool('bad', 'ask', {}));
    await expect.poll(() => unanswered).toBe(2);
    // Its start tells the server that it is initialised, on the lane of replies.
    expect(await pool.callTool('good', 'echo', { text: 'hi' })).toEqual(said('hi'));
    const abort = new AbortController();
    const hanging = failure(pool.callTool('good', 'hang', {}, { signal: abort.signal }));
    await expect.poll(() => server.of('tools/call').length).toBe(3);
    abort.abort();
    await hanging;
    await expect.poll(() => server.of('notifications/cancelled').length).toBe(1);
    expect(unanswered).toBe(2);
    await pool.close({ graceMs: 0 });
    await bad;
  },
);

test('`proxyFromEnv: false` asks no proxy', async () => {
  const server = await RawServer.listen();
  const { asked, url } = await forwardProxy(server.port);
  vi.stubEnv('http_proxy', url);
  await failure(openHttp('http://mcp.corp.invalid/mcp', { ...LEGACY, proxyFromEnv: false }));
  expect(asked).toEqual([]);
});

test('what waits for a tunnel through a proxy that never answers takes its request for one along when it is given up', async () => {
  const proxy = createServer();
  let open = 0;
  let asked = 0;
  proxy.on('connect', (_, socket) => {
    asked++;
    open++;
    socket.on('error', () => undefined).on('close', () => open--);
    socket.on('end', () => socket.destroy());
    socket.resume();
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  closeAfter({
    close: async () => {
      proxy.closeAllConnections();
      await new Promise((resolve) => proxy.close(resolve));
    },
  });
  vi.stubEnv('https_proxy', `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`);
  const pool = closeAfter(new HTTPClientPool({ proxyFromEnv: true, startTimeoutMs: 100 }));
  pool.addServer({ name: 's', transport: 'http', url: 'https://far.example/mcp', era: 'legacy' });
  expect(await failure(pool.request('s', 'ping'))).toMatchObject({ code: 'ERR_START_FAILED' });
  await expect.poll(() => [asked > 0, open]).toEqual([true, 0]);
});
