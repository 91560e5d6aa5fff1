import type { ServerResponse } from 'node:http';
import { expect, test } from 'vitest';
import { TakenResult } from '../../../src/connection/channel/large/ResultSink.js';
import { HttpDispatchers } from '../../../src/connection/net/sockets/HttpDispatchers.js';
import type { ServerNotice } from '../../../src/connection/protocol/messages.js';
import type { SseConnection } from '../../../src/connection/sse/SseConnection.js';
import {
  ClosedError,
  NotSentError,
  OutcomeUnknownError,
  RateLimitedError,
  RequestTimeoutError,
  RpcError,
  StartError,
} from '../../../src/core/errors.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';
import { closeAfter } from '../../support/closeAfter.js';
import { everythingSse, openSse, sdkServer } from '../../support/httpServers.js';
import { failure } from '../../support/rawCalls.js';
import { said } from '../../support/rawServer.js';
import { RawSse, type RawSseOptions } from '../../support/rawSse.js';

const call = (connection: SseConnection, name: string, args: object = {}, options = {}): Promise<unknown> =>
  connection.request('tools/call', { name, arguments: args }, options);

async function serve(options: RawSseOptions = {}, more = {}) {
  const server = await RawSse.listen(options);
  return { server, connection: await openSse(server.url, more) };
}

type Before = NonNullable<RawSseOptions['before']>;

/** Handles the named tool so. */
const on =
  (name: string, handle: Before): Before =>
  (post) =>
    post.message.params?.name === name && (handle(post) ?? true);

test('server-everything in its SSE mode is initialised and answers many calls at once', async () => {
  const { url } = await everythingSse();
  const connection = await openSse(url);
  expect(connection.info.era).toBe('legacy');
  const texts = Array.from({ length: 50 }, (_, i) => `m${i}`);
  const answers = await Promise.all(texts.map((message) => call(connection, 'echo', { message })));
  expect(answers).toEqual(texts.map((text) => expect.objectContaining(said(`Echo: ${text}`))));
});

test('a server-legacy server answers, cancels, and its death fails what was in flight', async () => {
  const server = await sdkServer('sse');
  const connection = await openSse(server.url);
  expect(await call(connection, 'echo', { text: 'hi' })).toEqual(expect.objectContaining(said('hi')));
  expect(await failure(call(connection, 'slow', { ms: 60_000 }, { timeoutMs: 60 }))).toBeInstanceOf(
    RequestTimeoutError,
  );
  await expect.poll(() => call(connection, 'cancelled')).toEqual(expect.objectContaining(said('1')));
  const slow = failure(call(connection, 'slow', { ms: 60_000 }));
  await call(connection, 'echo', { text: 'x' });
  const deaths: unknown[] = [];
  connection.onClose((death) => deaths.push(death));
  await server.close();
  expect(await slow).toMatchObject({ constructor: OutcomeUnknownError, acted: 'perhaps' });
  expect(deaths).toMatchObject([{ expected: false }]);
  expect(connection.alive).toBe(false);
  expect(await failure(call(connection, 'echo'))).toMatchObject({ constructor: NotSentError, acted: 'no' });
});

test('an endpoint on another origin is not believed, and one that never comes is a StartError', async () => {
  for (const [options, why] of [
    [{ endpoint: 'http://127.0.0.1:1/message' }, 'not on its own origin'],
    [{ endpoint: null }, 'not ready within 100 ms'],
    [{ onGet: (_: unknown, res: { end(): unknown }) => Boolean(res.end()) }, ''],
    [
      {
        onGet: (_: unknown, res: ServerResponse) => {
          res.writeHead(200, { 'content-type': 'text/event-stream' }).end('event: endpoint\ndata: /message\n\n');
          return true;
        },
      },
      'its stream ended',
    ],
    // The time of a URL parser is quadratic in them.
    [{ endpoint: `//${'\u4e00'.repeat(2_100)}/` }, 'its endpoint is not on its own origin: "//\u4e00'],
    [{ endpoint: `/${'p'.repeat(8_192)}` }, 'its endpoint has 8193 characters, 8192 allowed'],
    [
      {
        onGet: (_: unknown, res: { writeHead(status: number): { end(text: string): unknown } }) =>
          Boolean(res.writeHead(404).end('nothing here')),
      },
      'nothing here',
    ],
  ] as const) {
    const server = await RawSse.listen(options as RawSseOptions);
    const error = await failure(
      openSse(server.url, 'endpoint' in options && options.endpoint === null ? { startTimeoutMs: 100 } : {}),
    );
    expect(error).toMatchObject({ constructor: StartError, message: expect.stringContaining(why) });
    expect(server.posts.filter((each) => each.message.method !== 'initialize')).toEqual([]);
  }
  expect(await failure(openSse('http://127.0.0.1:1/sse'))).toMatchObject({ cause: { code: 'ECONNREFUSED' } });
});

test('a start that is given up rejects with the reason', async () => {
  const server = await RawSse.listen({ endpoint: null });
  const control = new AbortController();
  const opening = failure(openSse(server.url, { signal: control.signal }));
  await expect.poll(() => server.streams.length).toBe(1);
  control.abort('no more');
  expect(await opening).toBe('no more');
});

test('a stream that drops fails what is in flight and ends the connection', async () => {
  const { server, connection } = await serve({ before: on('hang', ({ accept }) => void accept()) });
  const hanging = [1, 2, 3].map(() => failure(call(connection, 'hang')));
  await expect.poll(() => server.posts.filter((each) => each.message.params?.name === 'hang').length).toBe(3);
  server.streams[0]?.destroy();
  for (const each of await Promise.all(hanging)) expect(each).toBeInstanceOf(OutcomeUnknownError);
  expect(connection.alive).toBe(false);
});

test('a POST that is refused, reset or never answered says what became of its call', async () => {
  const { connection } = await serve({
    before: ({ message, res, accept, result }) => {
      switch (message.params?.name) {
        case 'limited':
          res.writeHead(429, { 'retry-after': '3' }).end();
          return true;
        case 'rpc':
          res
            .writeHead(400)
            .end(JSON.stringify({ jsonrpc: '2.0', id: message.id, error: { code: -32602, message: 'x' } }));
          return true;
        case 'reset':
          res.destroy();
          return true;
        case 'first':
          result(said('before it was accepted'));
          setImmediate(accept);
          return true;
        case 'noAccept':
          result(said('never accepted'));
          return true;
        default:
          return false;
      }
    },
  });
  expect(await failure(call(connection, 'limited'))).toMatchObject({
    constructor: RateLimitedError,
    retryAfterMs: 3_000,
  });
  expect(await failure(call(connection, 'rpc'))).toMatchObject({ constructor: RpcError, rpcCode: -32602 });
  expect(await failure(call(connection, 'reset'))).toBeInstanceOf(OutcomeUnknownError);
  expect(await call(connection, 'first')).toEqual(said('before it was accepted'));
  expect(await call(connection, 'noAccept')).toEqual(said('never accepted'));
  expect(await call(connection, 'echo', { text: 'x' })).toEqual(said('x'));
});

test('requests and notifications of the server reach whoever listens, and raw results stay bytes', async () => {
  const { server, connection } = await serve({
    before: on('big', ({ accept, event, message }) => {
      accept();
      event(`{"jsonrpc":"2.0","id":${message.id},"result":{"n":12345678901234567890}}`);
      return true;
    }),
  });
  const heard: ServerNotice[] = [];
  connection.onNotification((each) => heard.push(each));
  connection.setRequestHandler(async ({ method }) => ({ asked: method }));
  const write = (message: object): unknown => server.streams[0]?.write(`data: ${JSON.stringify(message)}\n\n`);
  write({ jsonrpc: '2.0', method: 'notifications/tools/list_changed' });
  write({ jsonrpc: '2.0', id: 'q', method: 'roots/list' });
  server.streams[0]?.write('data: not json\n\nevent: other\ndata: {}\n\n');
  await expect
    .poll(() => server.posts.at(-1)?.message)
    .toEqual({ jsonrpc: '2.0', id: 'q', result: { asked: 'roots/list' } });
  expect(heard).toEqual([{ method: 'notifications/tools/list_changed' }]);
  expect(connection.counters).toMatchObject({ garbage: 1, orphanRequests: 1 });
  const bytes = (await call(connection, 'big', {}, { raw: true })) as Uint8Array;
  expect(Buffer.from(bytes).toString()).toBe('{"n":12345678901234567890}');
});

test('an event over the cap fails the call that it answers, and the stream goes on', async () => {
  const long = 'x'.repeat(20_000);
  const answers: Readonly<Record<string, (id: number) => string>> = {
    first: (id) => `{"jsonrpc":"2.0","id":${id},"result":{"a":"${long}"}}`,
    last: (id) => `{"result":{"a":"${long}"},"jsonrpc":"2.0","id":${id}}`,
    lines: (id) =>
      `{\ndata: "result": ["${Array(1_000).fill('0123456789').join('",\ndata: "')}"],\ndata: "id": ${id}\ndata: }`,
  };
  let release: (() => void) | undefined;
  const { server, connection } = await serve(
    {
      before: ({ message, accept, event, result }) => {
        const name = message.params?.name;
        if (name === 'slow') release = () => result(said('slow'));
        else if (name in answers) event(answers[name]?.(message.id));
        else return false;
        accept();
        return true;
      },
    },
    { maxMessageBytes: 10_000 },
  );
  const heard: ServerNotice[] = [];
  connection.onNotification((each) => heard.push(each));
  const slow = call(connection, 'slow');
  for (const name of Object.keys(answers)) {
    expect(await failure(call(connection, name)), name).toMatchObject({
      code: 'ERR_MESSAGE_TOO_LARGE',
      direction: 'incoming',
      maxBytes: 10_000,
    });
  }
  const write = (data: string): unknown => server.streams[0]?.write(`data: ${data}\n\n`);
  write(`{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"${long}"}}`);
  write(`${long}\ndata: {}`);
  write('{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}');
  await expect.poll(() => heard).toEqual([{ method: 'notifications/tools/list_changed' }]);
  release?.();
  expect(await slow).toEqual(said('slow'));
  expect(connection.counters.garbage).toBe(2);
  expect(connection.alive).toBe(true);
});

test('a large answer is handed on in pieces, behind which others are read; one over the cap fails its call alone', async () => {
  const MB = 2 ** 20;
  const large = (id: number, bytes: number): string =>
    `{"jsonrpc":"2.0","id":${id},"result":{"a":"${'x'.repeat(bytes)}"}}`;
  const { connection } = await serve(
    {
      before: ({ message, accept, event }) => {
        if (message.params?.name !== 'large') return false;
        accept();
        event(large(message.id, message.params.arguments.bytes));
        return true;
      },
    },
    { maxMessageBytes: 4 * MB },
  );
  const taken: Buffer[] = [];
  const options = { raw: true, onLarge: () => ({ write: (piece: Buffer) => taken.push(Buffer.from(piece)) > 0 }) };
  const result = await call(connection, 'large', { bytes: 3 * MB }, options);
  expect(result).toBeInstanceOf(TakenResult);
  expect(taken.length).toBeGreaterThan(8);
  expect(Buffer.concat(taken).toString()).toBe(`{"a":"${'x'.repeat(3 * MB)}"}`);
  const over = { ...options, onLarge: () => ({ write: () => true }) };
  expect(await failure(call(connection, 'large', { bytes: 5 * MB }, over))).toMatchObject({
    code: 'ERR_MESSAGE_TOO_LARGE',
  });
  // Shorter, or wanted whole, it comes whole.
  for (const bytes of [0.5 * MB, 2 * MB]) {
    const bare = await call(connection, 'large', { bytes }, { raw: true });
    expect(String(bare)).toBe(`{"a":"${'x'.repeat(bytes)}"}`);
  }
  expect(await call(connection, 'echo', { text: 'x' })).toEqual(said('x'));
});

test('an event for which there is no room among those on their way fails its call alone', async () => {
  const { connection } = await serve(
    {
      before: on('big', ({ message, accept, event }) => {
        accept();
        event(`{"jsonrpc":"2.0","id":${message.id},"result":{"a":"${'x'.repeat(500_000)}"}}`);
        return true;
      }),
    },
    { dispatchers: closeAfter(new HttpDispatchers({ maxIncomingBytes: 200_000 })) },
  );
  expect(await failure(call(connection, 'big'))).toMatchObject({
    code: 'ERR_MESSAGE_TOO_LARGE',
    message: expect.stringContaining('maxIncomingBytes'),
  });
  expect(await call(connection, 'echo', { text: 'x' })).toEqual(said('x'));
});

test('credentials are renewed for the stream and for a call', async () => {
  let token = 'one';
  const allowed = (headers: { authorization?: string | undefined }): boolean => headers.authorization === token;
  const asked: string[] = [];
  const { server, connection } = await serve(
    {
      onGet: ({ headers }, res) => !allowed(headers) && Boolean(res.writeHead(401).end()),
      before: ({ headers, res }) => !allowed(headers) && Boolean(res.writeHead(401).end()),
    },
    {
      credentials: async (reason: string) => {
        asked.push(reason);
        return { headers: { Authorization: reason === 'start' ? 'old' : token } };
      },
    },
  );
  token = 'two';
  expect(await call(connection, 'echo', { text: 'x' })).toEqual(said('x'));
  expect(asked).toEqual(['start', '401', '401']);
  expect(server.streams).toHaveLength(1);
});

test('a server that pings without end on its stream and takes no reply loses its connection, with the reason', async () => {
  // A reply has no method: it never gets a response.
  const { server, connection } = await serve(
    { before: ({ message }) => message.method === undefined },
    { maxReplyBytes: 500_000 },
  );
  const why = new Promise<string>((resolve) => connection.onClose((death) => resolve(death.why)));
  for (let i = 0; i < 2_000; i++) {
    server.streams[0]?.write(`data: {"jsonrpc":"2.0","id":"p${i}","method":"ping"}\n\n`);
  }
  expect(await why).toContain('it takes none of our replies');
  expect(server.posts.filter(({ message }) => message.method === undefined).length).toBeLessThan(500);
});

test('closing waits for calls in flight, then fails them, and leaves no socket', async () => {
  let answer: (() => void) | undefined;
  const { server, connection } = await serve({
    before: (post) => {
      if (post.message.params?.name === 'soon') answer = () => post.result(said('in time'));
      if (!['soon', 'hang'].includes(post.message.params?.name)) return false;
      post.accept();
      return true;
    },
  });
  const soon = call(connection, 'soon');
  const hanging = failure(call(connection, 'hang'));
  await expect.poll(() => answer).toBeDefined();
  const closing = connection.close({ graceMs: 500 });
  expect(await failure(call(connection, 'echo'))).toBeInstanceOf(ClosedError);
  answer?.();
  expect(await soon).toEqual(said('in time'));
  expect(await hanging).toBeInstanceOf(OutcomeUnknownError);
  await closing;
  await expect.poll(() => server.streams[0]?.destroyed).toBe(true);
});

test('an error that names no call ends the only one that there is, with the server’s words', async () => {
  const clock = new FakeClock();
  const error = { code: -32603, message: 'it broke' };
  const before = on('breaks', ({ accept, event }) => {
    accept();
    event({ jsonrpc: '2.0', id: null, error });
  });
  const { connection } = await serve({ before }, { clock });
  await call(connection, 'echo');
  const lost = failure(call(connection, 'breaks'));
  await expect.poll(() => connection.counters.garbage).toBe(1);
  await clock.advance(5_100);
  expect(await lost).toMatchObject({ code: 'ERR_OUTCOME_UNKNOWN', message: expect.stringContaining('it broke') });
});
