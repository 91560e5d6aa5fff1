import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { createServer as createNetServer } from 'node:net';
import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { ClientPipe } from '../../src/gateway/stdio/ClientPipe.js';
import { ClientCalls } from '../../src/gateway/stdio/calls/ClientCalls.js';
import { FakeClock } from '../../src/testing/FakeClock.js';
import { answerTo, bridgeTo, deferred, gateway, modern, request, STREAM } from '../support/bridgeTo.js';

test.each([
  ['no text', { toString: 1, valueOf: 1 }],
  ['no header can name', '2025\r\nx: y'],
])('a gateway whose protocol version is one that is %s is answered for, then and later', async (_, protocolVersion) => {
  const server = gateway((res, { id, method }) => {
    res.writeHead(200, { 'content-type': 'application/json', 'mcp-session-id': 's' });
    res.end(answerTo(id, method === 'initialize' ? { protocolVersion, capabilities: {} } : {}));
  });
  const { send, answered, end } = await bridgeTo(server);
  send(request(1, 'initialize'));
  await answered(1);
  send(request(2));
  expect((await answered(2)).map(({ id, result }) => [id, result])).toEqual([
    [1, { protocolVersion, capabilities: {} }],
    [2, {}],
  ]);
  await end();
});

test.each([
  ['a call of the legacy era', request(7)],
  ['a call of the modern era', modern(7)],
])('an answer that comes again and again to %s is handed on once, and its stream cut', async (_, call) => {
  const cut = deferred<void>();
  const server = gateway((res, { id }) => {
    res.writeHead(200, STREAM).write(`data: ${answerTo(id)}\n\n`.repeat(3));
    res.once('close', cut.resolve);
  });
  const { send, lines, end } = await bridgeTo(server);
  send(call);
  await cut.promise;
  await end();
  expect(lines).toEqual([{ jsonrpc: '2.0', id: 7, result: {} }]);
});

test('of errors without an id an array gets no more than it had messages', async () => {
  const cut = deferred<void>();
  const server = gateway((res) => {
    res
      .writeHead(200, STREAM)
      .write('data: {"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"m"}}\n\n'.repeat(9));
    res.once('close', cut.resolve);
  });
  const { send, lines, end } = await bridgeTo(server);
  send([{}, {}, request(1)]);
  await cut.promise;
  await end();
  expect(lines.map(({ id }) => id)).toEqual([null, null, null, 1]);
});

test('a stream that stays open behind the answer of its call is cut', async () => {
  const clock = new FakeClock();
  const open = deferred<ServerResponse>();
  const server = gateway((res, { id }) => {
    res.writeHead(200, STREAM).write(`data: ${answerTo(id)}\n\n`);
    open.resolve(res);
  });
  const { send, answered, end } = await bridgeTo(server, { clock });
  send(request(1));
  await answered(1);
  const closed = once(await open.promise, 'close');
  await clock.advance(5_000);
  await closed;
  await end();
});

test('a gateway that changes the protocol of the connection: the call is told, and the bridge ends', async () => {
  const switches = createNetServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', () =>
      socket.write('HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n'),
    );
  });
  const { send, answered, end } = await bridgeTo(switches);
  send(request(1, 'tools/call'));
  expect((await answered(1))[0]?.error?.message).toContain('changes the protocol of the connection');
  await end();
});

test('two calls of one id: a cancellation ends both, and so does the end of the client', async () => {
  for (const cancel of [true, false]) {
    const open: ServerResponse[] = [];
    const both = deferred<void>();
    const server = gateway((res) => {
      if (open.push(res) === 2) both.resolve();
    });
    const { send, input, end } = await bridgeTo(server);
    send(modern(1), modern(1));
    await both.promise;
    const closed = open.map((res) => once(res, 'close'));
    if (cancel) send({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 1 } });
    else input.end();
    await Promise.all(closed);
    await end();
  }
});

test.each([
  ['a method', modern(1, 'a\r\nb: c'), -32601],
  ['a method of other letters', modern(1, 'é'), -32601],
  ['a version', request(1, 'ping', { _meta: { 'io.modelcontextprotocol/protocolVersion': '\u0000' } }), -32602],
  ['a name', modern(1, 'tools/call', { name: 'n'.repeat(100_000) }), -32602],
])('%s that no header can say is refused, with the reason', async (_, message, code) => {
  const server = gateway((res) => void res.destroy());
  const { send, answered, end } = await bridgeTo(server);
  send(message);
  const [told] = await answered(1);
  expect(told?.error?.code).toBe(code);
  expect(told?.error?.message).not.toContain('internal error');
  await end();
});

test('calls of a client beyond its bytes are refused while others are in flight, cancellations are not', async () => {
  const open: ServerResponse[] = [];
  const first = deferred<void>();
  const server = gateway((res) => {
    open.push(res);
    first.resolve();
  });
  const { send, answered, end } = await bridgeTo(server, { maxBufferedBytes: 2_000 });
  const large = { text: 'x'.repeat(1_500) };
  send(modern(1, 'tools/list', large));
  await first.promise;
  send(modern(2, 'tools/list', large), [request(3, 'tools/list', large)]);
  expect((await answered(2)).map(({ id, error }) => [id, error?.message])).toEqual([
    [2, expect.stringContaining('2000')],
    [3, expect.stringContaining('2000')],
  ]);
  const closed = once(open[0] as ServerResponse, 'close');
  send({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 1 } });
  await closed;
  expect(open).toHaveLength(1);
  await end();
});

test('messages of a client under way are bounded in number: requests first, what cancels them later', async () => {
  const calls = new ClientCalls(1e6, new FakeClock());
  const end = deferred<void>();
  for (let n = 0; n < 1_000; n++) calls.add(1, end.promise);
  expect(calls.refusal(1)?.code).toBe('ERR_QUEUE_FULL');
  expect(calls.refusal(1, true)).toBeUndefined();
  for (let n = 0; n < 1_000; n++) calls.add(1, end.promise);
  expect(calls.refusal(1, true)?.code).toBe('ERR_QUEUE_FULL');
  end.resolve();
  await calls.ended();
  expect(calls.refusal(1)).toBeUndefined();
});

test('a cancelled call of the legacy era, which its gateway ends without an answer, is not answered', async () => {
  const open: ServerResponse[] = [];
  const called = deferred<void>();
  const server = gateway((res, { id, method }) => {
    if (method === 'tools/call') {
      res.writeHead(200, STREAM).flushHeaders();
      open.push(res);
      called.resolve();
    } else if (method === 'notifications/cancelled') {
      res.writeHead(202).end();
      open[0]?.end();
    } else res.writeHead(200, { 'content-type': 'application/json' }).end(answerTo(id));
  });
  const { send, answered, end, lines } = await bridgeTo(server);
  send(request(9, 'tools/call'));
  await called.promise;
  const closed = once(open[0] as ServerResponse, 'close');
  send({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 9 } });
  await closed;
  send(request(9, 'ping'));
  await answered(1);
  await end();
  expect(lines).toEqual([{ jsonrpc: '2.0', id: 9, result: {} }]);
});

test('what a gateway keeps without a word holds up no call for ever: a cancelled one of the legacy era, a notification', async () => {
  const clock = new FakeClock();
  const kept: ServerResponse[] = [];
  let honest = false;
  const server = gateway((res, { id }) => {
    if (honest) res.writeHead(200, { 'content-type': 'application/json' }).end(answerTo(id));
    else kept.push(res);
  });
  const { send, answered, end } = await bridgeTo(server, { maxBufferedBytes: 2_000, clock });
  const large = { text: 'x'.repeat(1_500) };
  const cancelled = { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 1 } };
  send(request(1, 'tools/call', large));
  await expect.poll(() => kept.length).toBe(1);
  send(cancelled);
  await expect.poll(() => kept.length).toBe(2);
  honest = true;
  send(request(2, 'tools/call', large));
  expect(await answered(1)).toMatchObject([{ id: 2, error: { message: expect.stringContaining('2000') } }]);
  const closed = kept.map((each) => once(each, 'close'));
  await clock.advance(5_000);
  await closed[0];
  await clock.advance(30_000);
  await closed[1];
  send(request(3, 'tools/call', large));
  expect((await answered(2))[1]).toMatchObject({ id: 3, result: {} });
  await end();
});

test('a call whose gateway asks without end, and takes none of the replies, fails with the reason', async () => {
  const [asked, each] = [400, 'x'.repeat(14_000)];
  const server = gateway((res, { method }) => {
    // A reply has no method: it is never accepted.
    if (method !== 'tools/call') return;
    res.writeHead(200, STREAM);
    for (let id = 0; id < asked; id++) res.write(`data: ${JSON.stringify(request(id, 'roots/list'))}\n\n`);
  });
  const { send, answered, end } = await bridgeTo(server);
  send(request(1, 'tools/call'));
  for (const { id } of (await answered(asked)).slice(0, asked)) send({ jsonrpc: '2.0', id, result: { each } });
  const told = (await answered(asked + 1))[asked];
  expect(told).toMatchObject({ id: 1, error: { message: expect.stringContaining('it takes none of our replies') } });
  await end();
});

test('messages that a client does not read count with what each holds beside its text', () => {
  const output = new PassThrough({ highWaterMark: 1 });
  const bounds = {
    maxMessageBytes: 1e6,
    maxStreamBufferBytes: 1e5,
    maxBufferedBytes: 1e5,
    stallTimeoutMs: 30_000,
    clock: new FakeClock(),
  };
  const ignored = () => undefined;
  let dropped = 0;
  const told = { onStall: ignored, onLine: ignored, onOversized: ignored, onDrop: () => void dropped++ };
  const pipe = new ClientPipe({ input: new PassThrough(), output, ...bounds, ...told });
  for (let sent = 0; sent < 1_000; sent++) pipe.offer('{}', 'request', pipe);
  expect(dropped).toBeGreaterThan(800);
});
