import { expect, test } from 'vitest';
import type { HttpCredentials } from '../../../src/connection/net/Endpoint.js';
import { NotSentError, ProtocolError, StartError, UnauthorizedError } from '../../../src/core/errors.js';
import { openHttp } from '../../support/httpServers.js';
import { call, failure, LEGACY, serve } from '../../support/rawCalls.js';
import { type Exchange, RawServer, said } from '../../support/rawServer.js';

/** Refuses everything that does not carry the token. */
function guard(token: () => string) {
  return {
    before: ({ headers, res }: Exchange): boolean => {
      if (headers['authorization'] === `Bearer ${token()}`) return false;
      res.writeHead(401, { 'www-authenticate': 'Bearer' }).end();
      return true;
    },
  };
}

const bearer = (token: string): HttpCredentials => ({ headers: { Authorization: `Bearer ${token}` } });

test('credentials are asked for at the start, and once more when they are refused, whoever calls', async () => {
  let token = 'one';
  const asked: string[] = [];
  const credentials = async (reason: string): Promise<HttpCredentials> => {
    asked.push(reason);
    await new Promise((resolve) => setImmediate(resolve));
    return bearer(token);
  };
  const { server, connection } = await serve(
    {},
    guard(() => token),
    { credentials },
  );
  token = 'two';
  const texts = Array.from({ length: 20 }, (_, i) => `t${i}`);
  expect(await Promise.all(texts.map((text) => call(connection, 'echo', { text })))).toEqual(texts.map(said));
  expect(asked).toEqual(['start', '401']);
  token = 'three';
  await connection.notify('notifications/roots/list_changed');
  expect(asked).toEqual(['start', '401', '401']);
  expect(server.of('notifications/roots/list_changed')).toHaveLength(2);
  expect(connection.counters.calls).toBe(21);
});

test('credentials that stay refused, or that cannot be had, leave the refusal standing', async () => {
  let answer: () => Promise<HttpCredentials | undefined> = async () => bearer('wrong');
  const { connection } = await serve(
    {
      secret: ({ res }) => void res.writeHead(401, { 'www-authenticate': 'Bearer scope="x"' }).end(),
    },
    {},
    { credentials: (reason) => (reason === 'start' ? Promise.resolve(bearer('right')) : answer()) },
  );
  expect(await failure(call(connection, 'secret'))).toMatchObject({
    constructor: UnauthorizedError,
    challenge: 'Bearer scope="x"',
    acted: 'no',
  });
  answer = async () => undefined;
  expect(await failure(call(connection, 'secret'))).toBeInstanceOf(UnauthorizedError);
  answer = () => Promise.reject(new Error('no token server'));
  expect(await failure(call(connection, 'secret'))).toMatchObject({
    constructor: UnauthorizedError,
    cause: { message: 'no token server' },
  });
  const start = await failure(
    serve(
      {},
      guard(() => 'x'),
      { credentials: async () => bearer('y') },
    ),
  );
  expect(start).toMatchObject({ constructor: StartError, cause: { code: 'ERR_UNAUTHORIZED' } });
});

test('a redirect within the origin that keeps the method is followed, at most three times', async () => {
  let hops = 0;
  const { server, connection } = await serve(
    {},
    {
      before: ({ message, path, res }) => {
        const limit = message?.params?.name === 'far' ? 4 : 3;
        if (message?.method !== 'tools/call' || path === `/mcp?hop${limit}`) return false;
        hops++;
        res
          .writeHead(hops % 2 === 0 ? 307 : 308, { location: `/mcp?hop${Number(/\d+$/.exec(path)?.[0] ?? 0) + 1}` })
          .end();
        return true;
      },
    },
  );
  expect(await call(connection, 'echo', { text: 'there' })).toEqual(said('there'));
  expect(hops).toBe(3);
  expect(server.of('tools/call').at(-1)).toMatchObject({ method: 'POST', path: '/mcp?hop3' });
  expect(await failure(call(connection, 'far'))).toMatchObject({
    constructor: ProtocolError,
    message: expect.stringContaining('too often'),
  });
  expect(connection.counters.calls).toBe(3);
});

test('no redirect to another origin, or to another method, is followed, and no credential goes there', async () => {
  const other = await RawServer.listen();
  const { connection } = await serve(
    {
      away: ({ res }) => void res.writeHead(307, { location: other.url }).end(),
      moved: ({ res }) => void res.writeHead(302, { location: '/mcp' }).end(),
      nowhere: ({ res }) => void res.writeHead(307).end(),
      unchanged: ({ res }) => void res.writeHead(304).end(),
    },
    {},
    { headers: { 'X-Api-Key': 'secret' }, credentials: async () => bearer('secret') },
  );
  for (const [name, why] of [
    ['away', 'to another origin'],
    ['moved', 'with 302'],
    ['nowhere', 'it answers with 307, and says nowhere to go'],
    ['unchanged', 'it answers with 304, and says nowhere to go'],
  ] as const) {
    const error = (await failure(call(connection, name))) as Error;
    expect(error).toBeInstanceOf(ProtocolError);
    expect(error.message).toContain(why);
    expect(error.message).not.toContain('secret');
  }
  expect(other.seen).toEqual([]);
});

test('own headers and credentials go with every request; the newer of one name wins', async () => {
  const { server, connection } = await serve(
    {},
    { lost: 404 },
    { headers: { 'X-Key': 'k', Authorization: 'Basic old' }, credentials: async () => bearer('new') },
  );
  await call(connection, 'echo', { text: 'x' });
  await connection.close();
  expect(server.seen.map((each) => each.method)).toEqual(expect.arrayContaining(['POST', 'GET', 'DELETE']));
  for (const { headers } of server.seen) {
    expect(headers).toMatchObject({ 'x-key': 'k', authorization: 'Bearer new' });
  }
});

test('a start that is given up rejects with the reason and leaves nothing', async () => {
  const server = await RawServer.listen({ before: () => true });
  const control = new AbortController();
  const opening = failure(openHttp(server.url, { ...LEGACY, signal: control.signal }));
  await expect.poll(() => server.seen.length).toBe(1);
  control.abort('changed my mind');
  expect(await opening).toBe('changed my mind');
  expect(await failure(openHttp(server.url, { ...LEGACY, startTimeoutMs: 40 }))).toBeInstanceOf(StartError);
  const hanging = { ...LEGACY, credentials: () => new Promise<never>(() => undefined) };
  expect(await failure(openHttp(server.url, { ...hanging, startTimeoutMs: 40 }))).toBeInstanceOf(StartError);
  const soon = new AbortController();
  setImmediate(() => soon.abort('not now'));
  expect(await failure(openHttp(server.url, { ...hanging, signal: soon.signal }))).toBe('not now');
  const gone = await failure(openHttp('http://127.0.0.1:1/mcp'));
  expect(gone).toMatchObject({ constructor: StartError, cause: { constructor: NotSentError } });
});
