import { expect, test } from 'vitest';
import type { PoolEvents, ServerNotice } from '../../src/pool/McpPool.js';
import { echoFor, rawPool, tool } from '../support/httpPool.js';
import { failure } from '../support/rawCalls.js';
import { type Exchange, type RawOptions, RawServer } from '../support/rawServer.js';

/** A server with a GET stream for each session, and one that takes subscriptions. */
function streaming(): { readonly streams: Exchange[]; readonly options: RawOptions } {
  const streams: Exchange[] = [];
  const options: RawOptions = {
    lost: 404,
    get: (exchange) => {
      exchange.sse();
      streams.push(exchange);
    },
    before: ({ message, json, headers, server }) => {
      if (!/^resources\/(un)?subscribe$/.test(message?.method)) return false;
      if (!server.sessions.has(String(headers['mcp-session-id']))) return false;
      json({ jsonrpc: '2.0', id: message.id, result: {} });
      return true;
    },
  };
  return { streams, options };
}

const updated = (uri: string): object => ({
  jsonrpc: '2.0',
  method: 'notifications/resources/updated',
  params: { uri },
});

test('what comes on a session’s own stream is told with whose session it is', async () => {
  const { streams, options } = streaming();
  const { server, pool } = await rawPool(options, {}, { sharing: 'bound' });
  const heard: PoolEvents['notification'][] = [];
  pool.on('notification', (event) => heard.push(event));
  pool.on('orphanRequest', ({ server: name, principal, key, request, respond }) =>
    respond(Promise.resolve({ for: [name, principal, key, request.method] })),
  );
  for (const principal of ['ann', 'bob']) {
    await echoFor(pool, { principal, key: `${principal}’s` });
    await expect.poll(() => streams.length).toBe(principal === 'ann' ? 1 : 2);
  }
  streams[1]?.event({ jsonrpc: '2.0', method: 'notifications/tools/list_changed' });
  streams[0]?.event({ jsonrpc: '2.0', id: 'q1', method: 'roots/list' });
  await expect.poll(() => heard.length).toBe(1);
  expect(heard).toMatchObject([{ server: 'raw', principal: 'bob', key: 'bob’s' }]);
  const answer = (): unknown => server.seen.find(({ message }) => message?.id === 'q1')?.message.result;
  await expect.poll(answer).toEqual({ for: ['raw', 'ann', 'ann’s', 'roots/list'] });
  expect(pool.stats('raw').orphanRequests).toBe(1);
});

test('a request that nobody answers for is refused, and counted', async () => {
  const { streams, options } = streaming();
  const { server, pool } = await rawPool(options);
  await tool(pool, 'echo');
  await expect.poll(() => streams.length).toBe(1);
  streams[0]?.event({ jsonrpc: '2.0', id: 'q', method: 'sampling/createMessage', params: {} });
  await expect.poll(() => server.seen.some(({ message }) => message?.error?.code === -32601)).toBe(true);
  expect(pool.stats('raw').orphanRequests).toBe(1);
});

test('subscriptions are counted by URI and taken up again in a new session', async () => {
  const { streams, options } = streaming();
  const { server, pool } = await rawPool(options);
  const heard: string[] = [];
  const hear = (who: string) => (notice: ServerNotice) => void heard.push(`${who} ${notice.params?.['uri']}`);
  const one = await pool.subscribe('raw', { resourceUris: ['a'] }, { onNotification: hear('one') });
  await pool.subscribe('raw', { resourceUris: ['a', 'b'] }, { onNotification: hear('two') });
  const asked = (session: unknown): unknown[] =>
    server
      .of('resources/subscribe')
      .filter(({ headers }) => headers['mcp-session-id'] === session)
      .map(({ message }) => message.params.uri);
  expect(asked(server.session(1))).toEqual(['a', 'b']);
  await expect.poll(() => streams.length).toBe(1);
  server.forget();
  await tool(pool, 'echo');
  await expect.poll(() => asked(server.session(2))).toEqual(['a', 'b']);
  await expect.poll(() => streams.length).toBe(2);
  streams[1]?.event(updated('a'));
  await expect.poll(() => heard).toEqual(['one a', 'two a']);
  await one.close();
  expect(server.of('resources/unsubscribe')).toHaveLength(0);
  streams[1]?.event(updated('a'));
  await expect.poll(() => heard).toEqual(['one a', 'two a', 'two a']);
});

test('a subscription outlives its server: nobody has to call for it to come back', async () => {
  const { options } = streaming();
  const { server, pool } = await rawPool(options);
  await pool.subscribe('raw', { resourceUris: ['a'] }, { onNotification: () => undefined });
  const { port } = server;
  await expect.poll(() => server.of('GET').length).toBe(1);
  // Its stream is opened again after as long as the server says.
  await server.close();
  const back = await RawServer.listen(streaming().options, port);
  await expect.poll(() => back.of('resources/subscribe').length, { timeout: 10_000 }).toBe(1);
  expect(back.initialises).toBe(1);
});

test('closing with calls, streams and subscriptions open fails the calls truthfully and ends the session', async () => {
  const { streams, options } = streaming();
  const { server, pool } = await rawPool({ ...options, tools: { hang: () => undefined, streams: ({ sse }) => sse() } });
  const subscription = await pool.subscribe('raw', { resourceUris: ['a'] }, { onNotification: () => undefined });
  const hung = ['hang', 'streams'].map((name) => failure(tool(pool, name)));
  await expect.poll(() => [server.of('tools/call').length, streams.length]).toEqual([2, 1]);
  await pool.close({ graceMs: 0 });
  for (const error of await Promise.all(hung)) expect(error).toMatchObject({ code: 'ERR_OUTCOME_UNKNOWN' });
  await subscription.ended;
  expect(server.of('DELETE')).toHaveLength(1);
  await expect.poll(() => streams[0]?.res.destroyed).toBe(true);
  await expect(tool(pool, 'echo')).rejects.toMatchObject({ code: 'ERR_CLOSED' });
});
