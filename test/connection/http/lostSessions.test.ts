import { expect, test } from 'vitest';
import { NotSentError, OutcomeUnknownError, RpcError, UnauthorizedError } from '../../../src/core/errors.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';
import { call, failure, serve } from '../../support/rawCalls.js';
import { type Exchange, type Handler, said } from '../../support/rawServer.js';

type Refuse = (exchange: Exchange) => void;

const rpc =
  (status: number, code: number, message: string): Refuse =>
  ({ json, message: { id } }) =>
    json({ jsonrpc: '2.0', id, error: { code, message } }, status);

const page =
  (status: number, text: string): Refuse =>
  ({ res }) =>
    void res.writeHead(status).end(text);

const FORMS: readonly (readonly [string, Refuse])[] = [
  ['200, -32001', rpc(200, -32001, 'Session not found')],
  ['200, -30001', rpc(200, -30001, 'The provided SessionId was not found or has expired')],
  ['200, -32603', rpc(200, -32603, 'Invalid or expired session')],
  ['200, -32602', rpc(200, -32602, 'Received request before initialization was complete')],
  ['200, -32002', rpc(200, -32002, 'Server not initialized')],
  ['400, -32600', rpc(400, -32600, 'Invalid session ID')],
  ['500, -32603', rpc(500, -32603, 'Session not found: abc')],
  ['404, -32001 with its id', rpc(404, -32001, 'Session not found')],
  ['404 and no word', page(404, '')],
  ['410', page(410, 'Gone')],
  ['503', page(503, 'MCP session is unknown on this API instance')],
  ['401', page(401, 'session expired')],
  [
    'an event',
    (exchange) => {
      const { message, res } = exchange;
      exchange.sse();
      exchange.event({ jsonrpc: '2.0', id: message.id, error: { code: -32001, message: 'Session not found' } });
      res.end();
    },
  ],
];

/** A server that refuses everything in a session it has forgotten, as `refuse` does. */
async function house(refuse: Refuse, tools: Readonly<Record<string, Handler>> = {}) {
  const made = await serve(tools, {
    lost: 404,
    before: (exchange) => {
      const { headers, message } = exchange;
      const session = headers['mcp-session-id'] as string | undefined;
      if (message?.id === undefined || session === undefined || made.server.sessions.has(session)) return false;
      refuse(exchange);
      return true;
    },
  });
  return made;
}

test.each(FORMS)(
  'a session that is lost by %s is replaced once, and what it refused goes out once more',
  async (_, refuse) => {
    for (const raw of [false, true]) {
      const { server, connection } = await house(refuse);
      server.forget();
      const texts = ['a', 'b', 'c', 'd'];
      const asked = texts.map((text) =>
        connection.request('tools/call', { name: 'echo', arguments: { text } }, { raw }),
      );
      const answers = await Promise.all(asked);
      expect(raw ? answers.map((each) => JSON.parse(String(each))) : answers).toEqual(texts.map(said));
      expect(server.initialises).toBe(2);
      const ran = server.of('tools/call').filter(({ headers }) => headers['mcp-session-id'] === server.session(2));
      expect(ran).toHaveLength(4);
    }
  },
);

test('an error that speaks of sessions is the call’s own where a ping is answered, or fails otherwise', async () => {
  const { server, connection } = await house(rpc(200, -32001, 'Session not found'), {
    tool: rpc(200, -32603, 'Invalid or expired session'),
    plain: page(503, 'no session'),
  });
  expect(await failure(call(connection, 'tool'))).toMatchObject({
    constructor: RpcError,
    message: 'Invalid or expired session',
  });
  expect(await failure(call(connection, 'plain'))).toMatchObject({ code: 'ERR_UPSTREAM_BUSY' });
  expect(server.initialises).toBe(1);
  expect(server.of('tools/call')).toHaveLength(2);
});

test.each([
  ['-32002', rpc(404, -32002, 'Resource not found'), { constructor: RpcError, message: 'Resource not found' }],
  ['the words of a session layer', rpc(404, -32001, 'Session not found'), { constructor: RpcError, rpcCode: -32001 }],
  ['a page', page(404, 'no such document'), { code: 'ERR_PROTOCOL', status: 404 }],
])('a 404 of one call alone, %s, is its own: it runs once, and the session stays', async (_, refuse, told) => {
  let runs = 0;
  const { server, connection } = await serve(
    {
      finds: (exchange) => {
        runs++;
        refuse(exchange);
      },
    },
    { lost: 404 },
  );
  expect(await failure(call(connection, 'finds'))).toMatchObject(told);
  expect(await call(connection, 'echo', { text: 'x' })).toEqual(said('x'));
  expect([runs, server.initialises]).toEqual([1, 1]);
});

test('a call that was answered with a 404 of its own as its session ended is not sent again', async () => {
  let runs = 0;
  const { server, connection } = await house(page(404, ''), {
    ends: (exchange) => {
      runs++;
      server.forget();
      rpc(404, -32002, 'Resource not found')(exchange);
    },
  });
  expect(await failure(call(connection, 'ends'))).toBeInstanceOf(OutcomeUnknownError);
  expect(await call(connection, 'echo', { text: 'x' })).toEqual(said('x'));
  expect([runs, server.initialises]).toEqual([1, 2]);
});

test('a notification that is refused with 404 ends the session only where a ping is refused, too', async () => {
  const { server, connection } = await serve(
    {},
    {
      lost: 404,
      before: ({ message, res }) => {
        if (message?.method !== 'notifications/other') return false;
        res.writeHead(404).end();
        return true;
      },
    },
  );
  const told = (): Promise<unknown> => failure(connection.notify('notifications/other'));
  expect(await told()).toMatchObject({ code: 'ERR_PROTOCOL', status: 404 });
  expect(server.initialises).toBe(1);
  server.forget();
  expect(await told()).toBeInstanceOf(NotSentError);
  expect(await call(connection, 'echo', { text: 'x' })).toEqual(said('x'));
  expect(server.initialises).toBe(2);
});

test('a call that said something before its session refused it is not sent again', async () => {
  const { server, connection } = await house(rpc(200, -32001, 'Session not found'), {
    works: (exchange) => {
      const { message, res } = exchange;
      exchange.sse();
      exchange.event({ jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data: 'at work' } });
      server.forget();
      exchange.event({ jsonrpc: '2.0', id: message.id, error: { code: -32001, message: 'Session not found' } });
      res.end();
    },
  });
  expect(await failure(call(connection, 'works'))).toMatchObject({ constructor: RpcError, rpcCode: -32001 });
  expect(server.of('tools/call')).toHaveLength(1);
  // The next call finds it out.
  expect(await call(connection, 'echo', { text: 'x' })).toEqual(said('x'));
  expect(server.initialises).toBe(2);
});

test.each([
  ['200', rpc(200, -32603, 'Session terminated')],
  ['500', page(500, 'the session was closed')],
])('a call that may have run when its session ended, as a %s says, is not sent again', async (_, refuse) => {
  let runs = 0;
  const { server, connection } = await house(refuse, {
    ends: (exchange) => {
      runs++;
      server.forget();
      refuse(exchange);
    },
  });
  expect(await failure(call(connection, 'ends'))).toBeInstanceOf(OutcomeUnknownError);
  expect(await call(connection, 'echo', { text: 'x' })).toEqual(said('x'));
  expect([runs, server.initialises]).toEqual([1, 2]);
});

test('a 401 that asks for credentials is none of a session, and no call goes out a third time', async () => {
  const asks = await house(
    ({ res }) => void res.writeHead(401, { 'www-authenticate': 'Bearer' }).end('session expired'),
  );
  asks.server.forget();
  expect(await failure(call(asks.connection, 'echo'))).toBeInstanceOf(UnauthorizedError);
  expect(asks.server.initialises).toBe(1);
  let calls = 0;
  const never = await house(rpc(200, -32001, 'Session not found'), {
    echo: (exchange) => {
      calls++;
      never.server.forget();
      rpc(200, -32001, 'Session not found')(exchange);
    },
  });
  never.server.forget();
  expect(await failure(call(never.connection, 'echo'))).toBeInstanceOf(NotSentError);
  expect(calls).toBe(1);
});

test('a session that stayed, though its server refused everything for a while, is asked for anew', async () => {
  const clock = new FakeClock();
  const refuse = page(503, 'no session');
  let isAway = false;
  const before = (exchange: Exchange): boolean => {
    if (isAway) refuse(exchange);
    return isAway;
  };
  const { server, connection } = await serve({ plain: refuse }, { lost: 404, before }, { clock });
  server.forget();
  await call(connection, 'echo');
  // It is new: what it refuses now says nothing of its loss.
  isAway = true;
  expect(await failure(call(connection, 'echo'))).toBeInstanceOf(NotSentError);
  isAway = false;
  await clock.advance(1_000);
  expect(await failure(call(connection, 'plain'))).toMatchObject({ code: 'ERR_UPSTREAM_BUSY' });
  expect(server.initialises).toBe(2);
});
