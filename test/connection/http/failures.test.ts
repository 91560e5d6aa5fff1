import { once } from 'node:events';
import { createServer } from 'node:net';
import { expect, test } from 'vitest';
import { HttpDispatchers } from '../../../src/connection/net/sockets/HttpDispatchers.js';
import {
  ForbiddenError,
  MessageTooLargeError,
  NotSentError,
  OutcomeUnknownError,
  ProtocolError,
  RateLimitedError,
  RequestTimeoutError,
  RpcError,
  StartError,
  UnauthorizedError,
  UpstreamBusyError,
} from '../../../src/core/errors.js';
import { closeAfter } from '../../support/closeAfter.js';
import { freePort, openHttp } from '../../support/httpServers.js';
import { call, failure, LEGACY, reply, serve } from '../../support/rawCalls.js';
import { RawServer, said } from '../../support/rawServer.js';

test('each status says what became of the call', async () => {
  const { connection } = await serve({
    unauthorized: reply(401, '', { 'www-authenticate': 'Bearer realm="x"' }),
    forbidden: reply(403),
    limited: reply(429, 'slow down', { 'retry-after': '7' }),
    limitedUntil: ({ res }) =>
      void res.writeHead(429, { 'retry-after': new Date(Date.now() + 60_000).toUTCString() }).end(),
    limitedSilently: reply(429, '', { 'retry-after': 'soon' }),
    busy: reply(503, '', { 'retry-after': '2' }),
    gateway: reply(502, '<html><body><h1>Bad Gateway</h1>nginx</body></html>', { 'content-type': 'text/html' }),
    late: reply(504),
    html: reply(200, '<html>hello</html>', { 'content-type': 'text/html' }),
    gone: reply(410, 'gone fishing'),
    accepted: reply(202),
  });
  expect(await failure(call(connection, 'unauthorized'))).toMatchObject({
    constructor: UnauthorizedError,
    challenge: 'Bearer realm="x"',
    acted: 'no',
  });
  expect(await failure(call(connection, 'forbidden'))).toBeInstanceOf(ForbiddenError);
  expect(await failure(call(connection, 'limited'))).toMatchObject({
    constructor: RateLimitedError,
    source: 'upstream',
    retryAfterMs: 7_000,
  });
  const until = (await failure(call(connection, 'limitedUntil'))) as RateLimitedError;
  expect(until.retryAfterMs).toBeGreaterThan(50_000);
  expect(until.retryAfterMs).toBeLessThanOrEqual(60_000);
  expect(await failure(call(connection, 'limitedSilently'))).toMatchObject({ retryAfterMs: undefined });
  expect(await failure(call(connection, 'busy'))).toMatchObject({
    constructor: UpstreamBusyError,
    status: 503,
    retryAfterMs: 2_000,
    acted: 'perhaps',
  });
  const gateway = (await failure(call(connection, 'gateway'))) as OutcomeUnknownError;
  expect(gateway).toMatchObject({ constructor: OutcomeUnknownError, status: 502, acted: 'perhaps' });
  expect(gateway.message).toContain('Bad Gateway nginx');
  expect(gateway.message).not.toContain('<');
  expect(await failure(call(connection, 'late'))).toMatchObject({ constructor: OutcomeUnknownError, status: 504 });
  expect(await failure(call(connection, 'html'))).toMatchObject({
    constructor: ProtocolError,
    message: expect.stringContaining('text/html'),
  });
  expect(await failure(call(connection, 'gone'))).toMatchObject({ message: expect.stringContaining('gone fishing') });
  expect(await failure(call(connection, 'accepted'))).toBeInstanceOf(ProtocolError);
  expect(await call(connection, 'echo', { text: 'still here' })).toEqual(said('still here'));
});

test('a JSON-RPC error in a 4xx is an answer', async () => {
  const error = { code: -32602, message: 'no', data: { why: 1 } };
  const { connection } = await serve({
    own: ({ json, message }) => json({ jsonrpc: '2.0', id: message.id, error }, 400),
    nobodys: ({ json }) => json({ jsonrpc: '2.0', id: null, error }, 422),
    internal: ({ json, message }) => json({ jsonrpc: '2.0', id: message.id, error }, 500),
  });
  for (const name of ['own', 'nobodys', 'internal']) {
    expect(await failure(call(connection, name))).toMatchObject({
      constructor: RpcError,
      rpcCode: -32602,
      message: 'no',
      data: { why: 1 },
    });
  }
});

test('an error page that never ends is read no further than its excerpt', async () => {
  const { connection } = await serve({
    flood: ({ res }) => {
      res.writeHead(500, { 'content-type': 'text/html' });
      const more = (): void => void (res.writable && res.write('x'.repeat(16_384), more));
      more();
    },
  });
  expect(await failure(call(connection, 'flood'))).toMatchObject({ constructor: OutcomeUnknownError, status: 500 });
});

test('a refused connection, an unknown host and a TLS failure have sent nothing', async () => {
  const server = await RawServer.listen();
  const connection = await openHttp(server.url, LEGACY);
  await server.close();
  // The first may still find the old socket, whose end we have not been told of.
  await failure(call(connection, 'echo'));
  expect(await failure(call(connection, 'echo'))).toMatchObject({ constructor: NotSentError, acted: 'no' });
  const dns = (await failure(openHttp('http://no-such-host.invalid/mcp'))) as StartError;
  expect(dns).toBeInstanceOf(StartError);
  expect(dns.cause).toBeInstanceOf(NotSentError);
  const plain = await RawServer.listen();
  const tls = (await failure(openHttp(plain.url.replace('http:', 'https:')))) as StartError;
  expect(tls.cause).toBeInstanceOf(NotSentError);
});

test('a server that accepts and says nothing is given up by the connect timeout of TLS', async () => {
  const silent = createServer(() => undefined).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const sockets = new Set<{ destroy(): unknown }>();
  silent.on('connection', (socket) => sockets.add(socket));
  closeAfter({
    close: async () => {
      for (const socket of sockets) socket.destroy();
      silent.close();
      await once(silent, 'close');
    },
  });
  const { port } = silent.address() as { port: number };
  const error = (await failure(openHttp(`https://127.0.0.1:${port}/mcp`, { connectTimeoutMs: 50 }))) as StartError;
  expect(error.cause).toBeInstanceOf(NotSentError);
  expect(error.message).toContain('no connection to 127.0.0.1 within 50 ms');
});

test('a reset under load fails what was in flight, and the next calls go through', async () => {
  let waiting = 0;
  const { server, connection } = await serve({
    hang: ({ server: self }) => {
      if (++waiting === 20) self.cutAll();
    },
  });
  const failures = await Promise.all(Array.from({ length: 20 }, () => failure(call(connection, 'hang'))));
  for (const each of failures) expect(each).toMatchObject({ constructor: OutcomeUnknownError, acted: 'perhaps' });
  expect(await call(connection, 'echo', { text: 'again' })).toEqual(said('again'));
  expect(server.of('tools/call')).toHaveLength(21);
});

test('a call that is never answered times out, is cancelled upstream, and its connection is kept', async () => {
  const { server, connection } = await serve({ hang: () => undefined, openStream: ({ sse }) => sse() });
  for (const name of ['hang', 'openStream']) {
    expect(await failure(call(connection, name, {}, { timeoutMs: 40 }))).toBeInstanceOf(RequestTimeoutError);
  }
  const control = new AbortController();
  const aborted = failure(call(connection, 'hang', {}, { signal: control.signal }));
  await expect.poll(() => server.of('tools/call').length).toBe(3);
  control.abort('enough');
  expect(await aborted).toBe('enough');
  await expect.poll(() => server.of('notifications/cancelled').length).toBe(3);
  const ids = server.of('tools/call').map((each) => each.message.id);
  expect(server.of('notifications/cancelled').map((each) => each.message.params.requestId)).toEqual(ids);
  expect(connection.alive).toBe(true);
});

test('a cancel, or a reply, whose connection breaks goes out once more', async () => {
  const broken: unknown[] = [];
  const { server, connection } = await serve(
    {
      hang: () => undefined,
      asks: (exchange) => {
        exchange.sse();
        exchange.event({ jsonrpc: '2.0', id: 'q', method: 'roots/list' });
      },
    },
    {
      before: ({ message, res }) => {
        const { method, id } = message ?? {};
        const what = method === 'notifications/cancelled' ? method : method === undefined ? id : undefined;
        if (what === undefined || broken.includes(what)) return false;
        broken.push(what);
        res.destroy();
        return true;
      },
    },
  );
  connection.setRequestHandler(async () => ({ roots: [] }));
  const control = new AbortController();
  const hangs = failure(call(connection, 'hang', {}, { signal: control.signal }));
  await expect.poll(() => server.of('tools/call').length).toBe(1);
  control.abort(new Error('no more'));
  await hangs;
  await expect.poll(() => server.of('notifications/cancelled').length).toBe(2);
  const asked = failure(call(connection, 'asks'));
  await expect.poll(() => server.seen.filter(({ message }) => message?.id === 'q').length).toBe(2);
  expect(broken).toEqual(['notifications/cancelled', 'q']);
  await connection.close({ graceMs: 0 });
  await asked;
});

test('a call aborted before its socket stands is never sent', async () => {
  const { server, connection } = await serve({ hang: () => undefined });
  const hanging = failure(call(connection, 'hang'));
  await expect.poll(() => server.of('tools/call').length).toBe(1);
  const control = new AbortController();
  const aborted = failure(call(connection, 'echo', {}, { signal: control.signal }));
  control.abort('never mind');
  expect(await aborted).toBe('never mind');
  expect(await call(connection, 'echo', { text: 'x' })).toEqual(said('x'));
  expect(server.of('tools/call')).toHaveLength(2);
  server.cutAll();
  expect(await hanging).toBeInstanceOf(OutcomeUnknownError);
});

test('many calls aborted before their sockets stand leave the rest in good order', async () => {
  const { server, connection } = await serve({ hang: () => undefined });
  const control = new AbortController();
  const aborted = Array.from({ length: 20 }, () => failure(call(connection, 'echo', {}, { signal: control.signal })));
  const hanging = Array.from({ length: 20 }, () => failure(call(connection, 'hang')));
  control.abort('all of them');
  expect(await Promise.all(aborted)).toEqual(aborted.map(() => 'all of them'));
  await expect.poll(() => server.of('tools/call').length).toBe(20);
  await connection.close({ graceMs: 0 });
  for (const each of await Promise.all(hanging)) expect(each).toBeInstanceOf(OutcomeUnknownError);
});

test('the timeouts of headers and body say which they are', async () => {
  const { server, connection } = await serve(
    {
      hang: () => undefined,
      slowLoris: ({ res }) => void res.writeHead(200, { 'content-type': 'application/json' }).write('{"jsonrpc"'),
    },
    {},
    { headersTimeoutMs: 400, bodyTimeoutMs: 300 },
  );
  expect(await failure(call(connection, 'hang'))).toMatchObject({
    constructor: OutcomeUnknownError,
    message: expect.stringContaining('no response headers within 400 ms'),
  });
  expect(await failure(call(connection, 'slowLoris'))).toMatchObject({
    constructor: OutcomeUnknownError,
    message: expect.stringContaining('nothing of the response body within 300 ms'),
  });
  // Nobody waits for them any more, and the server is told.
  await expect.poll(() => server.of('notifications/cancelled').length).toBe(2);
});

test('a JSON body may come slowly, as long as it comes', async () => {
  const { connection } = await serve(
    {
      slowly: async ({ res, message }) => {
        res.writeHead(200, { 'content-type': 'application/json' });
        const text = JSON.stringify({ jsonrpc: '2.0', id: message.id, result: said('slow') });
        for (let at = 0; at < text.length; at += 10) {
          res.write(text.slice(at, at + 10));
          await new Promise((resolve) => setTimeout(resolve, 60));
        }
        res.end();
      },
    },
    {},
    { bodyTimeoutMs: 400 },
  );
  expect(await call(connection, 'slowly')).toEqual(said('slow'));
});

test('bodies, events and headers over their caps fail their own call', async () => {
  const big = 'x'.repeat(20_000);
  const { connection } = await serve(
    {
      body: ({ answer }) => answer(big),
      event: ({ sse, event, message, res }) => {
        sse();
        event({ jsonrpc: '2.0', id: message.id, result: said(big) });
        res.end();
      },
      endless: ({ sse, res }) => {
        sse();
        const more = (): void => void (res.writable && res.write(`data: ${'x'.repeat(5_000)}\n`, more));
        more();
      },
      headers: reply(200, '{}', { 'x-much': big, 'content-type': 'application/json' }),
    },
    {},
    { maxMessageBytes: 10_000, maxHeaderBytes: 8_192 },
  );
  for (const name of ['body', 'event', 'endless']) {
    expect(await failure(call(connection, name))).toMatchObject({
      constructor: MessageTooLargeError,
      direction: 'incoming',
    });
  }
  expect(await failure(call(connection, 'headers'))).toBeInstanceOf(ProtocolError);
  expect(await call(connection, 'echo', { text: 'x' })).toEqual(said('x'));
});

test('what is no JSON, no answer, or half an answer fails its call at once', async () => {
  const { connection } = await serve({
    noJson: reply(200, 'hello', { 'content-type': 'application/json' }),
    noAnswer: reply(200, '{"jsonrpc":"2.0","method":"notifications/x"}', { 'content-type': 'application/json' }),
    half: ({ res }) => {
      res.writeHead(200, { 'content-type': 'application/json', 'content-length': '1000' }).write('{"jsonrpc":"2.0"');
      setImmediate(() => res.destroy());
    },
  });
  expect(await failure(call(connection, 'noJson'))).toMatchObject({
    constructor: ProtocolError,
    message: expect.stringContaining('hello'),
  });
  expect(await failure(call(connection, 'noAnswer'))).toBeInstanceOf(OutcomeUnknownError);
  expect(await failure(call(connection, 'half'))).toBeInstanceOf(OutcomeUnknownError);
});

test('a URL, a header or a number that cannot be is refused before anything is sent', async () => {
  const server = await RawServer.listen();
  for (const [options, name] of [
    [{ url: 'ftp://x/y' }, 'url'],
    [{ url: 'http://user:secret@127.0.0.1/' }, 'url'],
    [{ headers: { 'Mcp-Session-Id': 'x' } }, 'headers.Mcp-Session-Id'],
    [{ headers: { 'X-Token': 'a\r\nb' } }, 'headers.X-Token'],
    [{ connectTimeoutMs: 0 }, 'connectTimeoutMs'],
    [{ maxEventBytes: 10 }, 'maxEventBytes'],
  ] as const) {
    const error = await failure(openHttp(server.url, options));
    expect(error).toMatchObject({ code: 'ERR_OPTION', option: name });
    expect(String(error)).not.toMatch(/secret/);
  }
  expect(server.seen).toEqual([]);
  expect(await freePort()).toBeGreaterThan(0);
});

test('a result that is not JSON fails its call at once, as a body and as an event, raw or not', async () => {
  const bad = (id: unknown): string => `{"jsonrpc":"2.0","id":${String(id)},"result":{]}`;
  const { connection } = await serve({
    body: ({ res, message }) => void res.writeHead(200, { 'content-type': 'application/json' }).end(bad(message.id)),
    event: ({ res, message }) =>
      void res.writeHead(200, { 'content-type': 'text/event-stream' }).write(`data: ${bad(message.id)}\n\n`),
  });
  for (const raw of [false, true]) {
    for (const name of ['body', 'event']) {
      expect(await failure(call(connection, name, {}, { raw }))).toMatchObject({ code: 'ERR_PROTOCOL' });
    }
  }
});

test("an error without an id in the body of a response is the call's, in the words of the server, also with an odd code", async () => {
  const { connection } = await serve({
    nobodys: ({ json }) => json({ jsonrpc: '2.0', id: null, error: { code: -32000, message: 'no such thing' } }),
    odd: ({ json, message }) => json({ jsonrpc: '2.0', id: message.id, error: { code: 'E_ODD', message: 'so odd' } }),
  });
  expect(await failure(call(connection, 'nobodys'))).toMatchObject({
    rpcCode: -32000,
    message: expect.stringContaining('no such thing'),
  });
  expect(await failure(call(connection, 'odd'))).toMatchObject({
    code: 'ERR_PROTOCOL',
    message: expect.stringContaining('so odd'),
  });
});

test.each([
  ['tls.key', { key: 'no key' }],
  ['tls.cert', { cert: 'no certificate' }],
  ['tls.key', { key: 7 }],
  ['tls', { ciphers: 'none' }],
])('what no connection could be made with is refused at once: %s', (option, tls) => {
  const made = () => new HttpDispatchers({ tls: tls as object });
  expect(made).toThrow(expect.objectContaining({ code: 'ERR_OPTION', option }));
});
