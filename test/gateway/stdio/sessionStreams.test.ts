import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { expect, test } from 'vitest';
import { FakeClock } from '../../../src/testing/FakeClock.js';
import { answerTo, bridgeTo, gateway, request, STREAM } from '../../support/bridgeTo.js';

const HANDSHAKE = { protocolVersion: '2025-06-18', capabilities: {} };

/** A gateway that forgets its session with each call, and keeps each stream open. */
function forgetful() {
  const streams: ServerResponse[] = [];
  let opened = 0;
  const server = gateway((res, { id, method }, req) => {
    const session = req.headers['mcp-session-id'];
    if (method === 'initialize') {
      res.writeHead(200, { 'content-type': 'application/json', 'mcp-session-id': `s${++opened}` });
      res.end(answerTo(id, HANDSHAKE));
    } else if (req.method === 'GET') {
      res.writeHead(200, STREAM).flushHeaders();
      res.once('close', () => streams.splice(streams.indexOf(res), 1));
      streams.push(res);
    } else if (id === undefined) res.writeHead(202).end();
    else if (session === `s${id}`) res.writeHead(200, { 'content-type': 'application/json' }).end(answerTo(id));
    else res.writeHead(404).end();
  });
  return { server, streams, opened: () => opened };
}

test('the stream of a session that was replaced is ended, and hands on nothing more', async () => {
  const { server, streams, opened } = forgetful();
  const { send, answered, lines, end } = await bridgeTo(server);
  send(request(1, 'initialize'));
  await answered(1);
  for (let call = 2; call <= 20; call++) {
    await expect.poll(() => streams.length).toBe(1);
    const [before] = streams;
    send(request(call));
    await answered(call);
    if (before?.closed === false) await once(before, 'close');
  }
  await expect.poll(() => streams.length).toBe(1);
  expect(opened()).toBe(20);
  streams[0]?.write('data: {"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info"}}\n\n');
  await answered(21);
  expect(lines.map(({ id }) => id)).toEqual([...Array.from({ length: 20 }, (_, i) => i + 1), undefined]);
  await end();
  await expect.poll(() => streams.length).toBe(0);
});

test('a call that meets several gateways which have no session is sent to the next, and says at the end that it was not sent', async () => {
  const { server, opened } = forgetful();
  const { send, answered, lines, end } = await bridgeTo(server);
  send(request(1, 'initialize'));
  await answered(1);
  send(request(4));
  await answered(2);
  send(request(9));
  await answered(3);
  expect(opened()).toBe(7);
  expect(lines).toMatchObject([{ id: 1 }, { id: 4, result: {} }, { id: 9, error: { data: { code: 'ERR_NOT_SENT' } } }]);
  await end();
});

test('a client that initialises again has one stream, that of its new session', async () => {
  const { server, streams } = forgetful();
  const { send, answered, end } = await bridgeTo(server);
  for (let time = 1; time <= 3; time++) {
    send(request(time, 'initialize'));
    await answered(time);
    await expect.poll(() => streams.length).toBe(1);
  }
  await end();
  await expect.poll(() => streams.length).toBe(0);
});

test('on the stream of a session are no answers: what asks or tells is handed on, and nothing else', async () => {
  const { server, streams } = forgetful();
  const { send, answered, lines, end } = await bridgeTo(server);
  send(request(1, 'initialize'));
  await answered(1);
  await expect.poll(() => streams.length).toBe(1);
  const error = { jsonrpc: '2.0', id: null, error: { code: 1, message: 'm' } };
  const notice = { jsonrpc: '2.0', method: 'notifications/x' };
  const asked = { jsonrpc: '2.0', id: 1, method: 'ping' };
  const events = [
    answerTo(1),
    answerTo('never asked'),
    JSON.stringify(error),
    JSON.stringify(notice),
    JSON.stringify(asked),
  ];
  streams[0]?.write(events.map((each) => `data: ${each}\n\n`).join(''));
  await answered(3);
  expect(lines.slice(1)).toEqual([notice, asked]);
  await end();
});

/** A gateway that notes what its sessions are asked, and forgets the first one when it is asked for a ping. */
function noting() {
  let opened = 0;
  const asked: string[] = [];
  const server = gateway((res, { id, method, params }, req) => {
    const session = String(req.headers['mcp-session-id']);
    const json = { 'content-type': 'application/json' };
    if (method === 'initialize') {
      res.writeHead(200, { ...json, 'mcp-session-id': `s${++opened}` }).end(answerTo(id, HANDSHAKE));
    } else if (req.method === 'GET') res.writeHead(200, STREAM).flushHeaders();
    else if (id === undefined) res.writeHead(202).end();
    else if (session !== `s${opened}` || (method === 'ping' && opened === 1)) res.writeHead(404).end();
    else {
      asked.push(`${session} ${method} ${JSON.stringify(params)}`);
      const refused = `{"jsonrpc":"2.0","id":${JSON.stringify(id)},"error":{"code":-32002,"message":"no"}}`;
      res.writeHead(200, json).end(params?.['uri'] === 'a:no' ? refused : answerTo(id));
    }
  });
  return { server, asked };
}

test('what a client asked of its session is asked of the next one: its level, and what it is subscribed to', async () => {
  const { server, asked } = noting();
  const { send, answered, end } = await bridgeTo(server);
  send(request(1, 'initialize'));
  await answered(1);
  const all = [
    ['logging/setLevel', { level: 'debug' }],
    ['logging/setLevel', { level: 'info' }],
    ['resources/subscribe', { uri: 'a:1' }],
    ['resources/subscribe', { uri: 'a:2' }],
    ['resources/subscribe', { uri: 'a:no' }],
    ['resources/unsubscribe', { uri: 'a:1' }],
    ['resources/read', { uri: 'a:3' }],
  ] as const;
  for (const [at, [method, params]] of all.entries()) {
    send({ jsonrpc: '2.0', id: at + 2, method, params });
    await answered(at + 2);
  }
  asked.length = 0;
  send(request(20, 'ping'));
  await answered(all.length + 2);
  expect(asked).toEqual([
    's2 logging/setLevel {"level":"info"}',
    's2 resources/subscribe {"uri":"a:2"}',
    expect.stringContaining('s2 ping'),
  ]);
  await end();
});

test('its level is asked of the next session, however many subscriptions came after it', async () => {
  const { server, asked } = noting();
  // On a clock that stands still: asking anew takes as long as it may.
  const { send, answered, end } = await bridgeTo(server, { clock: new FakeClock() });
  send(request(1, 'initialize'));
  await answered(1);
  send(request(2, 'logging/setLevel', { level: 'debug' }));
  await answered(2);
  for (let from = 3; from < 1_053; from += 50) {
    const uris = Array.from({ length: 50 }, (_, at) => ({ uri: `a:${from + at}` }));
    send(...uris.map((params, at) => request(from + at, 'resources/subscribe', params)));
    await answered(from + 49);
  }
  asked.length = 0;
  send(request(2_000, 'ping'));
  await answered(1_053);
  expect(asked[0]).toBe('s2 logging/setLevel {"level":"debug"}');
  // Of the others the newest.
  expect(asked.length).toBeGreaterThan(900);
  expect(asked[1]).not.toContain('"a:3"');
  await end();
});
