import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { IncomingBytes } from '../../../src/connection/net/body/IncomingBytes.js';
import { WholeBody } from '../../../src/connection/net/body/WholeBody.js';
import { TURN_DEFAULTS } from '../../../src/core/time/turns.js';
import { openHttp } from '../../support/httpServers.js';
import { call, failure, LEGACY, serve } from '../../support/rawCalls.js';
import { type Exchange, type Handler, RawServer, said } from '../../support/rawServer.js';

const answer = (id: unknown, text = 'x'): string => JSON.stringify({ jsonrpc: '2.0', id, result: said(text) });
const encoded =
  (encoding: string, zip: (text: string) => Buffer, kind: 'json' | 'events'): Handler =>
  ({ res, message }) => {
    const text = answer(message.id, 'é'.repeat(5_000));
    const type = kind === 'json' ? 'application/json' : 'text/event-stream';
    res.writeHead(200, { 'content-type': type, 'content-encoding': encoding });
    res.end(zip(kind === 'json' ? text : `data: ${text}\n\n`));
  };

test('no compressed answer is asked for; one that comes is read', async () => {
  const { server, connection } = await serve({
    gzipJson: encoded('gzip', gzipSync, 'json'),
    gzipEvents: encoded('gzip', gzipSync, 'events'),
    brJson: encoded('br', brotliCompressSync, 'json'),
    brEvents: encoded('BR', brotliCompressSync, 'events'),
    deflateJson: encoded('deflate', deflateSync, 'json'),
    deflateEvents: encoded('deflate', deflateSync, 'events'),
    identity: encoded('identity', (text) => Buffer.from(text), 'json'),
  });
  for (const name of ['gzipJson', 'gzipEvents', 'brJson', 'brEvents', 'deflateJson', 'deflateEvents', 'identity']) {
    expect(await call(connection, name)).toEqual(said('é'.repeat(5_000)));
  }
  expect(server.of('tools/call').map(({ headers }) => headers['accept-encoding'])).toEqual(
    new Array(7).fill('identity'),
  );
});

test('an encoding that is not known, a body that is not in it, and one that unpacks to too much, fail the call by name', async () => {
  const { connection } = await serve(
    {
      unknown: encoded('zstd', (text) => Buffer.from(text), 'json'),
      wrong: encoded('gzip', (text) => Buffer.from(text), 'events'),
      bomb: ({ res }) => {
        res.writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' });
        res.end(gzipSync(Buffer.alloc(50_000_000, 0x20)));
      },
    },
    {},
    { maxMessageBytes: 1_000_000 },
  );
  for (const name of ['unknown', 'wrong']) {
    const error = await failure(call(connection, name));
    expect(error).toMatchObject({ code: 'ERR_PROTOCOL', message: expect.stringContaining('content-encoding') });
  }
  expect(await failure(call(connection, 'bomb'))).toMatchObject({ code: 'ERR_MESSAGE_TOO_LARGE' });
  expect(await call(connection, 'echo', { text: 'still here' })).toEqual(said('still here'));
});

test('an answer whose event never gets its blank line is taken, when the stream ends and when it stays open', async () => {
  const { connection } = await serve({
    ends: ({ res, sse, message }) => {
      sse();
      res.end(`data: ${answer(message.id)}\n`);
    },
    noLineEnd: ({ res, sse, message }) => {
      sse();
      res.end(`event: message\ndata: ${answer(message.id)}`);
    },
    staysOpen: ({ res, sse, message }) => {
      sse();
      res.write(`data: ${answer(message.id)}\r\n`);
    },
    inTwoLines: ({ res, sse, message }) => {
      sse();
      const text = answer(message.id);
      const cut = text.indexOf(',') + 1;
      res.write(`data: ${text.slice(0, cut)}\n`);
      setTimeout(() => res.write(`data: ${text.slice(cut)}\n\n`), 400);
    },
  });
  for (const name of ['ends', 'noLineEnd', 'staysOpen', 'inTwoLines']) {
    expect(await call(connection, name)).toEqual(said('x'));
  }
});

test('`retry: 0` does not make a stream be opened again without a pause', async () => {
  let opened = 0;
  const server = await RawServer.listen({
    get: ({ sse, res, event }) => {
      opened++;
      sse();
      res.write('retry: 0\n\n');
      event({ jsonrpc: '2.0', method: 'notifications/message', params: {} }, `${opened}`);
      res.end();
    },
  });
  await openHttp(server.url, LEGACY);
  await expect.poll(() => opened).toBeGreaterThan(2);
  const from = opened;
  const fromMs = performance.now();
  await expect.poll(() => opened).toBeGreaterThanOrEqual(from + 4);
  // Four pauses of 250 ms; a timer is never early by more than a tick.
  expect(performance.now() - fromMs).toBeGreaterThan(600);
});

test('a flood of events is read in turns of the loop', async () => {
  const events = 5_000;
  let flood = (): void => undefined;
  const server = await RawServer.listen({
    get: ({ sse, res }) => {
      sse();
      flood = () => void res.write('data:x\n\n'.repeat(events));
    },
  });
  const connection = await openHttp(server.url, LEGACY);
  await expect.poll(() => server.of('GET').length).toBe(1);
  let most = 0;
  let before = 0;
  const look = (): void => {
    const { garbage } = connection.counters;
    most = Math.max(most, garbage - before);
    before = garbage;
    if (garbage < events) setImmediate(look);
  };
  setImmediate(look);
  flood();
  await expect.poll(() => connection.counters.garbage).toBe(events);
  expect(most).toBeLessThanOrEqual(2 * TURN_DEFAULTS.maxMessages);
  expect(await connection.request('tools/call', { name: 'echo', arguments: { text: 'here' } }, {})).toEqual(
    said('here'),
  );
});

test('a server that pings without end and takes no reply loses its connection, with the reason', async () => {
  const server = await RawServer.listen({
    get: ({ sse, res }) => {
      sse();
      for (let i = 0; i < 5_000; i++) res.write(`data: {"jsonrpc":"2.0","id":"p${i}","method":"ping"}\n\n`);
    },
    // A reply has no method: it never gets a response.
    before: ({ message }) => message?.result !== undefined,
  });
  const connection = await openHttp(server.url, { ...LEGACY, maxReplyBytes: 1_000_000 });
  const why = await new Promise<string>((resolve) => connection.onClose((reason) => resolve(reason.why)));
  expect(why).toContain('it takes none of our replies');
  expect(server.seen.filter(({ message }) => message?.result !== undefined).length).toBeLessThan(1_000);
});

test('a redirect that is not followed says where it led, without its query', async () => {
  const { connection } = await serve({
    away: ({ res }) => void res.writeHead(307, { location: 'http://other.example/mcp/v2?token=secret' }).end(),
    script: ({ res }) => void res.writeHead(307, { location: 'javascript:alert(1)' }).end(),
  });
  const error = (await failure(call(connection, 'away'))) as Error;
  expect(error.message).toContain('"http://other.example/mcp/v2"');
  expect(error.message).not.toContain('secret');
  expect(((await failure(call(connection, 'script'))) as Error).message).toContain('"javascript:alert(1)"');
});

test('a body of many small chunks is joined as it comes, whatever their sizes', () => {
  const body = new WholeBody(new IncomingBytes(Number.POSITIVE_INFINITY));
  const all = Buffer.from(Array.from({ length: 10_000 }, (_, i) => i & 0xff));
  for (let at = 0, size = 1; at < all.length; at += size, size = size === 1 && at > 5_000 ? 7 : 1) {
    body.push(all.subarray(at, at + size));
  }
  expect(body.bytes).toBe(all.length);
  expect(body.take().equals(all)).toBe(true);
  expect(body.bytes).toBe(0);
});

test('what any hook of a user throws fails at most its own call, and is counted', async () => {
  const throws = (): never => {
    throw new Error('from a user');
  };
  const logger = { trace: throws, debug: throws, info: throws, warn: throws, error: throws };
  const tell = ({ sse, event, message, res }: Exchange): void => {
    sse();
    event({ jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken: message.id, progress: 1 } });
    event({ jsonrpc: '2.0', method: 'notifications/message', params: {} });
    event({ jsonrpc: '2.0', id: 's1', method: 'roots/list' });
    res.end(`data: ${answer(message.id)}\n\n`);
  };
  let asked = 0;
  const { connection } = await serve(
    { tell, refused: ({ res }) => void res.writeHead(401).end() },
    {},
    {
      logger,
      onAnswer: throws,
      onNewSession: throws,
      refreshTool: throws,
      credentials: (reason) =>
        reason === 'start' ? Promise.resolve({ headers: { 'x-asked': `${asked++}` } }) : throws(),
    },
  );
  connection.onNotification(throws);
  connection.onClose(throws);
  connection.setRequestHandler(throws);
  const options = { onProgress: throws, onNotification: throws, onRequest: throws };
  expect(await call(connection, 'tell', {}, options)).toEqual(said('x'));
  expect(connection.counters.callbackErrors).toBeGreaterThan(1);
  expect(await failure(call(connection, 'refused'))).toMatchObject({ code: 'ERR_UNAUTHORIZED' });
  expect(await call(connection, 'tell')).toEqual(said('x'));
  expect(connection.inspect()).toMatchObject({
    server: connection.server,
    alive: true,
    era: 'legacy',
    inFlight: 0,
    pid: undefined,
  });
  await connection.close();
  expect(connection.inspect().alive).toBe(false);
});

test('interim responses are waited through, and fail the call when they are too many', async () => {
  const { server, connection } = await serve({
    some: ({ res, answer: say }) => {
      for (let at = 0; at < 20; at++) res.writeProcessing();
      say('x');
    },
    many: ({ res }) => {
      for (let at = 0; at < 21; at++) res.writeProcessing();
    },
  });
  expect(await call(connection, 'some')).toEqual(said('x'));
  const error = await failure(call(connection, 'many'));
  expect(error).toMatchObject({ code: 'ERR_PROTOCOL', message: expect.stringContaining('interim responses') });
  expect(await call(connection, 'some')).toEqual(said('x'));
  expect(server.of('tools/call').length).toBe(3);
});

test.each(['000', '001', '099', '101', '600', '999'])(
  'an answer of status %s fails its call in words of ours',
  async (status) => {
    const { connection } = await serve({
      odd: ({ res }) => void res.socket?.end(`HTTP/1.1 ${status} X\r\ncontent-length: 2\r\n\r\n{}`),
    });
    const { code, message } = (await failure(call(connection, 'odd'))) as { code: string; message: string };
    expect(`${code} ${message}`).not.toMatch(/assert|expression|falsy|undici/i);
    if (status < '100') expect(code).toBe('ERR_PROTOCOL');
  },
);

test('a byte order mark before a JSON body is passed over, however the body comes', async () => {
  const mark = '\ufeff';
  const { connection } = await serve({
    marked: ({ res, message }) => {
      res.writeHead(200, { 'content-type': 'application/json' });
      const text = JSON.stringify({
        jsonrpc: '2.0',
        id: message.id,
        result: { x: 'y'.repeat(message.params.arguments.chars), mark },
      });
      res.write(mark);
      setTimeout(() => res.end(text), 5);
    },
    refuses: ({ res, message }) => {
      const error = { code: -32602, message: 'no' };
      res.writeHead(400, { 'content-type': 'application/json' });
      res.end(mark + JSON.stringify({ jsonrpc: '2.0', id: message.id, error }));
    },
  });
  for (const chars of [1, 500_000]) {
    const result = { x: 'y'.repeat(chars), mark };
    expect(await call(connection, 'marked', { chars })).toEqual(result);
    const raw = (await call(connection, 'marked', { chars }, { raw: true })) as Uint8Array;
    expect(Buffer.from(raw).toString()).toBe(JSON.stringify(result));
  }
  expect(await failure(call(connection, 'refuses'))).toMatchObject({ rpcCode: -32602 });
});
