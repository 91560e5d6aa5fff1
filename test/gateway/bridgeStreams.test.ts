import { once } from 'node:events';
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { expect, test } from 'vitest';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { answerTo, bridgeTo, deferred, gateway, modern, request, STREAM } from '../support/bridgeTo.js';

const JSON_TYPE = { 'content-type': 'application/json' };
const HANDSHAKE = { protocolVersion: '2025-06-18', capabilities: { tools: { listChanged: true } } };
const CLOSED = '{"error":{"code":-32603,"message":"closed","data":{"code":"ERR_CLOSED"}}}';
const notice = (n: number): object => ({ jsonrpc: '2.0', method: 'notifications/progress', params: { progress: n } });

/** A gateway with sessions `s1`, `s2`, …: `handshake` answers the later ones, `other` all else. */
function sessions(
  other: (req: IncomingMessage, res: ServerResponse, message: { id: number; method?: string }) => void,
  handshake = (res: ServerResponse, id: string, headers: IncomingHttpHeaders): void =>
    void res.writeHead(200, { ...JSON_TYPE, ...headers }).end(answerTo(id, HANDSHAKE)),
) {
  let opened = 0;
  const server = gateway((res, message, req) => {
    const { id, method } = message;
    const headers = { 'mcp-session-id': `s${method === 'initialize' ? ++opened : opened}` };
    if (method === 'initialize' && opened === 1)
      res.writeHead(200, { ...JSON_TYPE, ...headers }).end(answerTo(id, HANDSHAKE));
    else if (method === 'initialize') handshake(res, id as unknown as string, headers);
    else if (req.method === 'DELETE') res.writeHead(200).end();
    else other(req, res, message);
  });
  return { server, opened: () => opened };
}

/** Forgets the first session; has no stream. */
const forgetful = (
  req: IncomingMessage,
  res: ServerResponse,
  { id, method }: { id: number; method?: string },
): void => {
  if (req.method === 'GET') res.writeHead(405).end();
  else if (method?.startsWith('notifications/')) res.writeHead(202).end();
  else if (req.headers['mcp-session-id'] === 's1') res.writeHead(404).write('gone, and not ended');
  else res.writeHead(200, JSON_TYPE).end(answerTo(id, {}));
};

test('a session opened again by a stream that stays open: its call is answered, whatever else comes on that stream', async () => {
  const closed = deferred<void>();
  const { server } = sessions(forgetful, (res, id, headers) => {
    const events = [notice(1), { id: 'another', result: {} }, JSON.parse(answerTo(id, HANDSHAKE)), notice(2)];
    res.writeHead(200, { ...STREAM, ...headers });
    for (const each of events) res.write(`data: ${JSON.stringify(each)}\n\n`);
    res.once('close', closed.resolve);
  });
  const { send, answered, end } = await bridgeTo(server);
  send(request(1, 'initialize'));
  await answered(1);
  send(request(2));
  expect((await answered(3)).map(({ id, result }) => [id, result])).toEqual([
    [1, HANDSHAKE],
    [undefined, undefined],
    [2, {}],
  ]);
  await closed.promise;
  await end();
});

test('a session that cannot be opened again, since nothing comes: the call is told that it was not sent, and the next tries anew', async () => {
  const clock = new FakeClock();
  const asked = [deferred<void>(), deferred<void>()];
  const { server, opened } = sessions(forgetful, (res, _, headers) => {
    res.writeHead(200, { ...STREAM, ...headers }).write(': nothing\n\n');
    asked[opened() - 2]?.resolve();
  });
  const { send, answered, end } = await bridgeTo(server, { clock });
  send(request(1, 'initialize'));
  await answered(1);
  for (const [i, { promise }] of asked.entries()) {
    send(request(i + 2));
    await promise;
    await clock.advance(30_000);
    const told = (await answered(i + 2)).at(-1);
    expect(told?.error?.message).toContain('initialize was not answered within 30000 ms');
    expect(told?.error).toMatchObject({ data: { code: 'ERR_NOT_SENT' } });
  }
  await end();
});

test('the list of tools that a modern call needs first comes on a stream that stays open: the call goes on', async () => {
  let calls = 0;
  const server = gateway((res, { id, method }) => {
    if (method === 'tools/list') res.writeHead(200, STREAM).write(`data: ${answerTo(id, { tools: [] })}\n\n`);
    else if (++calls > 1) res.writeHead(200, JSON_TYPE).end(answerTo(id, {}));
    else res.writeHead(400, JSON_TYPE).end(JSON.stringify({ id, error: { code: -32020, message: 'mismatch' } }));
  });
  const { send, answered, end } = await bridgeTo(server);
  send(modern(5, 'tools/call', { name: 'a' }));
  expect(await answered(1)).toEqual([{ jsonrpc: '2.0', id: 5, result: {} }]);
  await end();
});

test.each([
  ['another status', 404, { code: -32020, message: 'mismatch' }],
  ['another code, of which the text tells', 400, { code: -32021, message: 'row -32020 not found' }],
])('a modern call that was refused with %s may have run: it is not sent again', async (_, status, error) => {
  let calls = 0;
  const server = gateway((res, { id }) => {
    calls++;
    res.writeHead(status, JSON_TYPE).end(JSON.stringify({ jsonrpc: '2.0', id, error }));
  });
  const { send, answered, end } = await bridgeTo(server);
  send(modern(5, 'tools/call', { name: 'a' }));
  expect(await answered(1)).toEqual([{ jsonrpc: '2.0', id: 5, error }]);
  expect(calls).toBe(1);
  await end();
});

test('an array whose answers have come is over when its stream stays open', async () => {
  const clock = new FakeClock();
  const open = deferred<ServerResponse>();
  const server = gateway((res) => {
    res.writeHead(200, STREAM).write(`data: ${answerTo(1, {})}\n\n`);
    open.resolve(res);
  });
  const { send, answered, lines, end } = await bridgeTo(server, { clock });
  send([request(1)]);
  await answered(1);
  const closed = once(await open.promise, 'close');
  await clock.advance(5_000);
  await closed;
  await end();
  expect(lines).toEqual([{ jsonrpc: '2.0', id: 1, result: {} }]);
});

test('a gateway whose stream is not there, by 404, is not initialised again and again', async () => {
  const clock = new FakeClock();
  let gets = 0;
  const { server, opened } = sessions((req, res, { id, method }) => {
    // Behind the handshake: the session is there by then.
    if (req.method === 'GET') setTimeout(() => res.writeHead(404).end(), gets++ && 5);
    else if (method !== undefined && id === undefined) res.writeHead(202).end();
    else res.writeHead(200, JSON_TYPE).end(answerTo(id, { gets }));
  });
  const { send, answered, lines, end } = await bridgeTo(server, { clock });
  send(request(1, 'initialize'));
  // Its handshake, and that the lists may be others.
  await answered(2);
  await expect.poll(() => gets).toBe(2);
  for (let n = 2; n < 12; n++) {
    send(request(n));
    await answered(n + 1);
    await clock.advance(10_000);
  }
  expect({ opened: opened(), lines: lines.length }).toEqual({ opened: 2, lines: 12 });
  expect(gets).toBeLessThan(4);
  await end();
});

test('a session that was forgotten, with its stream, is opened again each time, also where another GET was 404', async () => {
  const clock = new FakeClock();
  const streams: { session: unknown; res: ServerResponse }[] = [];
  let forgotten = '';
  const { server, opened } = sessions((req, res) => {
    const session = req.headers['mcp-session-id'];
    if (req.method !== 'GET') res.writeHead(202).end();
    else if (session === forgotten) res.writeHead(404).end();
    else {
      res.writeHead(200, STREAM).flushHeaders();
      streams.push({ session, res });
    }
  });
  const { send, end } = await bridgeTo(server, { clock });
  send(request(1, 'initialize'));
  for (let n = 1; n < 5; n++) {
    await expect.poll(() => streams.at(-1)?.session).toBe(`s${n}`);
    forgotten = `s${n}`;
    streams.at(-1)?.res.end();
    await expect.poll(() => clock.armedTimers).toBeGreaterThan(0);
    await clock.advance(500);
    await expect.poll(opened).toBe(n + 1);
  }
  await end();
});

test.each([
  ['✓1', Buffer.from('✓1').toString('latin1')],
  ['a\u0001b', undefined],
])('a stream with the event id %j is opened again', async (eventId, named) => {
  const clock = new FakeClock();
  const again = deferred<IncomingMessage>();
  let gets = 0;
  const { server } = sessions((req, res) => {
    if (req.method !== 'GET') return void res.writeHead(202).end();
    if (++gets > 1) again.resolve(req);
    res.writeHead(200, STREAM).end(`id: ${eventId}\ndata: ${JSON.stringify(notice(gets))}\n\n`);
  });
  const { send, answered, end } = await bridgeTo(server, { clock });
  send(request(1, 'initialize'));
  await answered(2);
  await expect.poll(() => clock.armedTimers).toBeGreaterThan(0);
  await clock.advance(500);
  expect((await again.promise).headers['last-event-id']).toBe(named);
  await end();
});

test('what comes behind an accepted notification is cut after a while, or beyond its bytes', async () => {
  const clock = new FakeClock();
  const open = deferred<ServerResponse>();
  const server = gateway((res, { method }) => {
    res.writeHead(method === 'notifications/progress' ? 202 : 500).write('x');
    open.resolve(res);
  });
  const { send, end } = await bridgeTo(server, { clock });
  send(notice(1));
  const { req } = await open.promise;
  await expect.poll(() => clock.advance(1_000).then(() => req.socket.destroyed)).toBe(true);
  await end();
});

test('a refusal that does not end is told with what came of it, and its connection is cut', async () => {
  const clock = new FakeClock();
  const cut: Promise<unknown>[] = [];
  const blank = Buffer.alloc(256 * 1_024, 0x20);
  const server = gateway((res, { id }) => {
    cut.push(once(res, 'close'));
    if (id === 1)
      return void res.writeHead(400, JSON_TYPE).write(JSON.stringify({ error: { code: -1, message: 'no' } }));
    res.writeHead(400);
    const more = (): void => void (res.destroyed || res.write(blank, more));
    more();
  });
  const { send, answered, end } = await bridgeTo(server, { clock });
  send(request(2));
  expect((await answered(1))[0]?.error?.message).toContain('HTTP 400');
  send(request(1));
  await expect.poll(() => cut.length).toBe(2);
  await expect.poll(() => clock.armedTimers).toBeGreaterThan(0);
  await clock.advance(30_000);
  expect((await answered(2))[1]).toEqual({ jsonrpc: '2.0', id: 1, error: { code: -1, message: 'no' } });
  await Promise.all(cut);
  await end();
});

test('an error of a server that comes with a status of HTTP is handed on with all its data', async () => {
  const error = { code: -32_601, message: 'no', data: 'x'.repeat(2 ** 21) };
  const server = gateway((res, { id }) => {
    res.writeHead(404, JSON_TYPE).end(JSON.stringify({ jsonrpc: '2.0', id, error }));
  });
  const { send, answered, end } = await bridgeTo(server);
  send(modern(1));
  expect((await answered(1))[0]?.error).toEqual(error);
  await end();
});

test('tools of others, however many, keep no headers of a tool from its calls, which may stand on a later page', async () => {
  const tools = Array.from({ length: 1_500 }, (_, i) => ({ name: `t${i}`, inputSchema: { type: 'object' } }));
  const region = { type: 'string', 'x-mcp-header': 'Region' };
  const listed = [tools, [{ name: 'q', inputSchema: { type: 'object', properties: { region } } }], tools];
  const asked: unknown[] = [];
  const server = gateway((res, message, req) => {
    const { id, method, params } = message as { id: number; method: string; params: { cursor?: string } };
    res.setHeader('content-type', 'application/json');
    const page = Number(params.cursor ?? 0);
    if (method === 'tools/list') {
      asked.push(params.cursor);
      res.end(answerTo(id, { tools: listed[page], ...(page < 2 && { nextCursor: `${page + 1}` }) }));
    } else if (req.headers['mcp-param-region'] === 'eu') res.end(answerTo(id, {}));
    else res.writeHead(400).end(JSON.stringify({ id, error: { code: -32020, message: 'mismatch' } }));
  });
  const { send, answered, end } = await bridgeTo(server);
  for (let i = 0; i < 8; i++) send(modern(i));
  await answered(8);
  const calls = [20, 21].map((id) => modern(id, 'tools/call', { name: 'q', arguments: { region: 'eu' } }));
  send(calls[0] as object);
  expect((await answered(9)).at(-1)).toEqual({ jsonrpc: '2.0', id: 20, result: {} });
  send(calls[1] as object);
  expect((await answered(10)).at(-1)).toEqual({ jsonrpc: '2.0', id: 21, result: {} });
  expect(asked.slice(8)).toEqual([undefined, '1']);
  await end();
});

test('answers on their way are bounded over all calls: the one that grows beyond is told, the others go on', async () => {
  const open = new Map<number, ServerResponse>();
  const both = deferred<void>();
  const server = gateway((res, { id }) => {
    res.writeHead(200, id === 1 ? JSON_TYPE : STREAM).write(id === 1 ? ' '.repeat(60_000) : 'data: ');
    if (open.set(id, res).size === 2) both.resolve();
  });
  const { send, answered, link, end } = await bridgeTo(server, { maxIncomingBytes: 100_000 });
  send(request(1));
  await expect.poll(() => link.incoming.bytes).toBe(60_000);
  send(request(2));
  await both.promise;
  open.get(2)?.write(' '.repeat(60_000));
  const [told] = await answered(1);
  expect(told?.id).toBe(2);
  expect(told?.error?.message).toContain('100000 are allowed');
  await expect.poll(() => link.incoming.bytes).toBe(60_000);
  open.get(1)?.end(answerTo(1, {}));
  expect((await answered(2))[1]).toEqual({ jsonrpc: '2.0', id: 1, result: {} });
  expect(link.incoming.bytes).toBe(0);
  await end();
});

test('calls that are under way when the bridge is told to end: of those that were sent it is not known what became of them', async () => {
  const both = deferred<void>();
  let got = 0;
  const server = gateway(() => {
    if (++got === 4) both.resolve();
  });
  const stop = new AbortController();
  const { send, answered, end } = await bridgeTo(server, { signal: stop.signal });
  send(request(1, 'tools/call'), modern(2, 'tools/call', { name: 'a' }), request(3), [request(4, 'tools/call')]);
  await both.promise;
  stop.abort();
  const codes = (await answered(4)).map(({ id, error }) => [id, (error as { data?: { code?: string } }).data?.code]);
  expect(Object.fromEntries(codes)).toEqual({
    1: 'ERR_OUTCOME_UNKNOWN',
    2: 'ERR_OUTCOME_UNKNOWN',
    3: 'ERR_CLOSED',
    4: 'ERR_OUTCOME_UNKNOWN',
  });
  await end();
});

test('a 503 of something between is no word of the gateway: what it was asked may have run, and is not sent again', async () => {
  let calls = 0;
  const server = gateway((res, { id, method }) => {
    if (method === 'tools/call') calls++;
    if (id === 3) res.writeHead(503, { connection: 'close', 'mcp-poolkit-refused': 'closing' }).end(CLOSED);
    else res.writeHead(503, { connection: 'close', 'content-type': 'text/plain' }).end('reset before headers');
  });
  let revived = 0;
  const { send, answered, end } = await bridgeTo(server, { revive: async () => void revived++ });
  send(request(1, 'tools/call'), [request(2, 'tools/call')]);
  await answered(2);
  expect([calls, revived]).toEqual([1, 0]);
  send(request(3, 'tools/call'));
  const codes = (await answered(3)).map(({ id, error }) => [id, (error as { data?: { code?: string } }).data?.code]);
  expect(Object.fromEntries(codes)).toEqual({ 1: 'ERR_OUTCOME_UNKNOWN', 2: 'ERR_OUTCOME_UNKNOWN', 3: 'ERR_CLOSED' });
  expect([calls, revived]).toEqual([3, 1]);
  await end();
});
