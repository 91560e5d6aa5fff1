import { beforeEach, expect, test } from 'vitest';
import type { HttpConnection } from '../../../src/connection/http/HttpConnection.js';
import { HttpDispatchers } from '../../../src/connection/net/sockets/HttpDispatchers.js';
import type { ServerNotice } from '../../../src/connection/protocol/messages.js';
import { ClosedError, NotSentError, OutcomeUnknownError, ProtocolError, RpcError } from '../../../src/core/errors.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';
import { closeAfter } from '../../support/closeAfter.js';
import { openHttp } from '../../support/httpServers.js';
import { call, failure, LEGACY, serve } from '../../support/rawCalls.js';
import { type Exchange, type Handler, RawServer, said } from '../../support/rawServer.js';

let lost = false;
beforeEach(() => {
  lost = false;
});

test.each([404, 400] as const)(
  'a session lost by %s is replaced once for all callers, and every call runs once',
  async (lost) => {
    let infos = 0;
    const { server, connection } = await serve({}, { lost }, { onNewSession: () => infos++ });
    expect(server.of('tools/call')).toHaveLength(0);
    server.forget();
    const texts = Array.from({ length: 40 }, (_, i) => `t${i}`);
    const answers = await Promise.all(texts.map((text) => call(connection, 'echo', { text })));
    expect(answers).toEqual(texts.map(said));
    expect(server.initialises).toBe(2);
    expect(infos).toBe(1);
    const ran = server.of('tools/call').filter((each) => each.headers['mcp-session-id'] === server.session(2));
    expect(new Set(ran.map((each) => each.message.params.arguments.text)).size).toBe(40);
    expect(connection.counters.calls).toBe(42);
    expect(server.of('initialize').every((each) => each.headers['mcp-session-id'] === undefined)).toBe(true);
    await connection.close();
    expect(server.of('DELETE').map((each) => each.headers['mcp-session-id'])).toEqual([server.session(2)]);
  },
);

test('a 400 that a ping does not confirm is the call’s own', async () => {
  const { server, connection } = await serve(
    {
      bad: ({ json, message }) =>
        json({ jsonrpc: '2.0', id: message.id, error: { code: -32000, message: 'bad' } }, 400),
      plain: ({ res }) => void res.writeHead(400).end('no'),
    },
    { lost: 404 },
  );
  expect(await failure(call(connection, 'bad'))).toMatchObject({ constructor: RpcError, rpcCode: -32000 });
  expect(await failure(call(connection, 'plain'))).toBeInstanceOf(ProtocolError);
  expect(server.of('ping')).toHaveLength(2);
  expect(server.initialises).toBe(1);
});

test('where a session belongs to one user, its loss sends nothing again and ends the connection', async () => {
  const { server, connection } = await serve({}, { lost: 404 }, { resendOnSessionLoss: false });
  const deaths: unknown[] = [];
  connection.onClose((death) => deaths.push(death));
  server.forget();
  const failures = await Promise.all([1, 2, 3].map(() => failure(call(connection, 'echo'))));
  expect(failures[0]).toMatchObject({ constructor: NotSentError, acted: 'no' });
  for (const each of failures) expect([NotSentError, OutcomeUnknownError]).toContain((each as Error).constructor);
  expect(deaths).toEqual([{ expected: false, why: 'its session is gone' }]);
  expect(connection.alive).toBe(false);
  expect(server.initialises).toBe(1);
});

test('a session that cannot be replaced ends the connection, and what was refused was not sent', async () => {
  let up = true;
  const { server, connection } = await serve(
    {},
    {
      lost: 404,
      before: ({ message, res }) => {
        if (up || message?.method !== 'initialize') return false;
        res.writeHead(503).end();
        return true;
      },
    },
  );
  server.forget();
  up = false;
  const failures = await Promise.all([1, 2, 3].map(() => failure(call(connection, 'echo'))));
  for (const each of failures) expect(each).toMatchObject({ constructor: NotSentError });
  expect(connection.alive).toBe(false);
});

test('calls of the old session that still run are neither sent again nor misjudged', async () => {
  let answer: (() => void) | undefined;
  const { server, connection } = await serve(
    {
      slow: (exchange) => {
        answer = () => exchange.answer('slow but sure');
      },
      dies: ({ req }) => void setTimeout(() => req.socket.destroy(), 30),
    },
    { lost: 404 },
  );
  const slow = call(connection, 'slow');
  await expect.poll(() => answer).toBeDefined();
  const dies = failure(call(connection, 'dies'));
  await expect.poll(() => server.of('tools/call').length).toBe(2);
  server.forget();
  expect(await call(connection, 'echo', { text: 'x' })).toEqual(said('x'));
  answer?.();
  expect(await slow).toEqual(said('slow but sure'));
  expect(await dies).toBeInstanceOf(OutcomeUnknownError);
  expect(server.of('tools/call').filter((each) => each.message.params.name !== 'echo')).toHaveLength(2);
});

/** A GET stream whose exchanges are kept. */
function streams(): { readonly open: Exchange[]; readonly get: Handler } {
  const open: Exchange[] = [];
  return {
    open,
    get: (exchange) => {
      exchange.sse();
      open.push(exchange);
    },
  };
}

test('the server’s own stream brings what belongs to no call, and is opened again where it broke off', async () => {
  const { open, get } = streams();
  const { server, connection } = await serve({}, { lost: 404, get });
  const heard: ServerNotice[] = [];
  connection.onNotification((each) => heard.push(each));
  await expect.poll(() => open.length).toBe(1);
  expect(server.seen.findIndex((each) => each.method === 'GET')).toBeGreaterThan(
    server.seen.findIndex((each) => each.message?.method === 'notifications/initialized'),
  );
  open[0]?.res.write('retry: 10\n\n');
  open[0]?.event({ jsonrpc: '2.0', method: 'notifications/tools/list_changed' }, 'g1');
  await expect.poll(() => heard.length).toBe(1);
  open[0]?.res.end();
  await expect.poll(() => open.length).toBe(2);
  expect(open[1]?.headers['last-event-id']).toBe('g1');
  open[1]?.event({ jsonrpc: '2.0', id: 'q', method: 'roots/list' });
  await expect.poll(() => server.seen.some((each) => each.message?.error?.code === -32601)).toBe(true);
  connection.setRequestHandler(async ({ method }) => ({ asked: method }));
  open[1]?.event({ jsonrpc: '2.0', id: 'q2', method: 'roots/list' });
  await expect
    .poll(() => server.seen.find((each) => each.message?.id === 'q2')?.message.result)
    .toEqual({ asked: 'roots/list' });
  expect(connection.counters.orphanRequests).toBe(2);
});

test('an event over the cap is passed over on the server’s own stream, which goes on', async () => {
  const { open, get } = streams();
  const { server, connection } = await serve(
    { hang: () => undefined },
    { lost: 404, get },
    { maxMessageBytes: 10_000 },
  );
  const heard: ServerNotice[] = [];
  connection.onNotification((each) => heard.push(each));
  await expect.poll(() => open.length).toBe(1);
  const hanging = failure(call(connection, 'hang'));
  await expect.poll(() => server.of('tools/call').length).toBe(1);
  const text = 'x'.repeat(20_000);
  open[0]?.event({ jsonrpc: '2.0', method: 'notifications/message', params: { data: text } }, 'g1');
  open[0]?.event({ jsonrpc: '2.0', id: server.of('tools/call')[0]?.message.id, result: said(text) }, 'g2');
  open[0]?.event({ jsonrpc: '2.0', method: 'notifications/tools/list_changed' }, 'g3');
  expect(await hanging).toMatchObject({ code: 'ERR_MESSAGE_TOO_LARGE' });
  await expect.poll(() => heard).toEqual([{ method: 'notifications/tools/list_changed' }]);
  expect([open.length, connection.counters.garbage]).toEqual([1, 1]);
});

test('a session lost while nobody calls is found out by its stream', async () => {
  const { open, get } = streams();
  const { server } = await serve({}, { lost: 404, get });
  await expect.poll(() => open.length).toBe(1);
  server.forget();
  open[0]?.res.write('retry: 5\n\n');
  open[0]?.res.end();
  await expect.poll(() => server.initialises).toBe(2);
  await expect.poll(() => open.length).toBe(2);
  expect(open[1]?.headers['mcp-session-id']).toBe(server.session(2));
});

/** Refuses what `is` names, and `ping` so that it confirms a loss. */
const refuses =
  (status: number, is: string, ping: (exchange: Exchange) => void = ({ res }) => void res.writeHead(status).end()) =>
  (exchange: Exchange): boolean => {
    const { method, message, res } = exchange;
    if (message?.method === 'ping') ping(exchange);
    else if (method !== is && message?.method !== is) return false;
    else res.writeHead(status).end();
    return true;
  };

test.each([404, 400])(
  'a server that answers GET and `ping` with %i has no stream of its own, and its session stays',
  async (status) => {
    const { server, connection } = await serve({}, { lost: 404, before: refuses(status, 'GET') });
    await expect.poll(() => server.of('GET').length).toBe(1);
    for (const text of ['a', 'b', 'c']) expect(await call(connection, 'echo', { text })).toEqual(said(text));
    expect([server.initialises, server.of('GET').length, server.of('ping').length]).toEqual([1, 1, 0]);
  },
);

test.each([404, 400] as const)(
  'what every session refuses with %i does not have them replaced without a pause',
  async (status) => {
    const clock = new FakeClock();
    const again: Promise<unknown>[] = [];
    const ask = (): Promise<unknown> => connection.request('resources/subscribe', { uri: 'a:b' }, {});
    const onNewSession = (): void => void again.push(failure(ask()));
    const options = { lost: 404, before: refuses(status, 'resources/subscribe') } as const;
    const { server, connection } = await serve({}, options, { clock, onNewSession });
    for (const pauseMs of [0, 250, 500, 1_000]) {
      await clock.advance(pauseMs);
      const sessions = server.initialises;
      expect(await failure(ask())).toMatchObject({ constructor: NotSentError });
      expect(await call(connection, 'echo', { text: 'x' })).toEqual(said('x'));
      for (const each of again.splice(0)) expect(await each).toMatchObject({ constructor: NotSentError });
      expect(server.initialises).toBe(sessions + 1);
    }
    // One that is lost is replaced at once again after one that lasted.
    await clock.advance(60_000);
    for (const nth of [6, 7]) {
      server.forget();
      await call(connection, 'echo', { text: 'x' });
      expect(server.initialises).toBe(nth);
      await clock.advance(250);
    }
  },
);

test('a `ping` that the server says it does not know confirms no loss', async () => {
  const { server, connection } = await serve(
    {},
    {
      lost: 404,
      before: refuses(400, 'resources/subscribe', ({ json, message }) =>
        json({ jsonrpc: '2.0', id: message.id, error: { code: -32601, message: 'no such method' } }, 404),
      ),
    },
  );
  const refused = failure(connection.request('resources/subscribe', { uri: 'a:b' }, {}));
  expect(await refused).toBeInstanceOf(ProtocolError);
  expect(server.initialises).toBe(1);
});

test('closing with calls and streams open fails them truthfully, ends the session, and leaves no socket', async () => {
  const { open, get } = streams();
  const { server, connection } = await serve(
    { hang: () => undefined, streams: ({ sse }) => sse() },
    { lost: 404, get },
  );
  await expect.poll(() => open.length).toBe(1);
  const failures = [failure(call(connection, 'hang')), failure(call(connection, 'streams'))];
  await expect.poll(() => server.of('tools/call').length).toBe(2);
  const closing = connection.close({ graceMs: 20 });
  expect(connection.close()).toBe(closing);
  expect(await failure(call(connection, 'echo'))).toBeInstanceOf(ClosedError);
  for (const each of await Promise.all(failures)) expect(each).toBeInstanceOf(OutcomeUnknownError);
  await closing;
  expect(server.of('DELETE')).toHaveLength(1);
  expect(connection.alive).toBe(false);
});

test('a server that never answers the DELETE does not hold the close for ever', async () => {
  const { connection } = await serve({}, { lost: 404, before: ({ method }) => method === 'DELETE' });
  await connection.close();
  expect(connection.alive).toBe(false);
});

test('a notification or a new session that hangs does not hold the close beyond its grace', async () => {
  const { server, connection } = await serve(
    {},
    {
      lost: 404,
      before: ({ message }) =>
        message?.method === 'notifications/roots/list_changed' || (lost && message?.method === 'initialize'),
    },
  );
  const notified = failure(connection.notify('notifications/roots/list_changed'));
  await expect.poll(() => server.of('notifications/roots/list_changed').length).toBe(1);
  lost = true;
  server.forget();
  const refused = failure(call(connection, 'echo'));
  await expect.poll(() => server.of('initialize').length).toBe(2);
  await connection.close({ graceMs: 50 });
  expect(await notified).toBeInstanceOf(OutcomeUnknownError);
  expect(await refused).toMatchObject({ acted: 'no' });
});

test('300 streams of the servers’ own do not keep calls or replies from going through', {
  timeout: 60_000,
}, async () => {
  const { open, get } = streams();
  const server = await RawServer.listen({
    lost: 404,
    get,
    tools: {
      ask: (exchange) => {
        exchange.sse();
        exchange.event({ jsonrpc: '2.0', id: `q-${exchange.message.id}`, method: 'sampling/createMessage' });
        const session = exchange.headers['mcp-session-id'];
        asked.set(`${session}/q-${exchange.message.id}`, () => {
          exchange.event({ jsonrpc: '2.0', id: exchange.message.id, result: said('asked') });
          exchange.res.end();
        });
      },
    },
    before: ({ message, headers, res }) => {
      if (message?.result === undefined) return false;
      res.writeHead(202).end();
      asked.get(`${headers['mcp-session-id']}/${message.id}`)?.();
      return true;
    },
  });
  const asked = new Map<string, () => void>();
  const dispatchers = closeAfter(new HttpDispatchers({ maxReplySockets: 4 }));
  const connections: HttpConnection[] = [];
  // Three hundred at one instant take a busy machine some seconds: none is given up for that.
  const patient = { timeoutMs: 50_000, acquireTimeoutMs: 50_000, startTimeoutMs: 50_000 };
  for (let i = 0; i < 300; i += 50) {
    const some = Array.from({ length: 50 }, () => openHttp(server.url, { ...LEGACY, ...patient, dispatchers }));
    connections.push(...(await Promise.all(some)));
  }
  await expect.poll(() => open.length).toBe(300);
  const answers = await Promise.all(
    connections.map((each) => call(each, 'ask', {}, { onRequest: async () => ({ role: 'assistant' }) })),
  );
  expect(answers).toEqual(connections.map(() => said('asked')));
  await Promise.all(connections.map((each) => each.close()));
});
