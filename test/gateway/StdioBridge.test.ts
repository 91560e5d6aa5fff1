import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { StdioBridge } from '../../src/gateway/stdio/StdioBridge.js';
import { FakeClock } from '../../src/testing/FakeClock.js';

const RIGHT = '{"jsonrpc":"2.0","id":"a\\u0062","result":{}}';
const STREAM = 'text/event-stream';

// A program of another kind may have the port of a gateway that has died: each request is answered all the same, by us.
test.each<[string, number, Record<string, string>, string, string]>([
  ['an answer', 200, { 'content-type': 'application/json' }, RIGHT, RIGHT],
  [
    'an answer with characters that some readers take for the end of a line',
    200,
    { 'content-type': 'application/json' },
    RIGHT.replace('{}', '{"\u2028":"\u2029\u0085"}'),
    RIGHT.replace('{}', '{"\\u2028":"\\u2029\\u0085"}'),
  ],
  ['an answer as an event', 200, { 'content-type': STREAM }, `data: ${RIGHT}\n\n`, RIGHT],
  [
    'a page',
    200,
    { 'content-type': 'text/html' },
    '<h1>hello</h1>',
    'it answered ping with 200, content type text/html: hello',
  ],
  ['no answer at all', 200, { 'content-type': 'application/json' }, '{}', 'it answered ping with 200'],
  ['half an answer', 200, { 'content-type': 'application/json' }, RIGHT.slice(0, -1), 'it answered ping with 200'],
  [
    'the answer to another',
    200,
    { 'content-type': 'application/json' },
    RIGHT.replace('a', 'c'),
    'it answered ping with 200',
  ],
  [
    'the same as an event',
    200,
    { 'content-type': STREAM },
    `data: ${RIGHT.replace('a', 'c')}\n\n`,
    'the response ended without an answer',
  ],
  [
    'a redirect',
    307,
    { location: 'http://elsewhere/' },
    '',
    'HTTP 307, which is not followed: \\"http://elsewhere/\\"',
  ],
  ['nothing', 202, {}, '', 'the response ended without an answer'],
])('%s to a request of `connect` is handed on, or told to be none', async (_, status, headers, body, said) => {
  const server = createServer((req, res) => req.resume().on('end', () => res.writeHead(status, headers).end(body)));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const input = new PassThrough();
  const output = new PassThrough({ encoding: 'utf8' });
  const bounds = {
    maxMessageBytes: 1e6,
    maxStreamBufferBytes: 1e6,
    maxBufferedBytes: 1e6,
    stallTimeoutMs: 30_000,
    graceMs: 30_000,
  };
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`);
  const over = new StdioBridge({ input, output, url, ...bounds }).run();
  input.end('{"jsonrpc":"2.0","id":"ab","method":"ping"}\n');
  await over;
  const text = String(output.read());
  expect(text).toContain(said);
  if (!said.includes('result'))
    expect(JSON.parse(text)).toMatchObject({ id: 'ab', error: { code: expect.any(Number) } });
  server.close();
});

const ARRAY =
  '[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":"b","method":"tools/call"},{"jsonrpc":"2.0","method":"x"}]';
const [ONE, TWO] = [
  '{"jsonrpc":"2.0","id":1,"result":{}}',
  '{"jsonrpc":"2.0","id":"b","error":{"code":1,"message":"m"}}',
];
const JSON_TYPE = 'application/json';

test.each<[string, number, string, string, readonly string[]]>([
  ['an array of answers', 200, JSON_TYPE, `[${ONE},${TWO}]`, []],
  ['answers as events', 200, STREAM, `data: ${ONE}\n\ndata: ${TWO}\n\n`, []],
  ['one answer, and its end', 200, STREAM, `data: ${ONE}\n\n`, ['the response ended without an answer']],
  ['one answer, and a cut', 200, STREAM, `data: ${ONE}\n\nCUT`, ['outcome of an array of messages unknown']],
  ['half of it', 200, JSON_TYPE, `[${ONE}CUT`, ['outcome of', 'outcome of']],
  ['a page', 200, 'text/html', '<h1>hello</h1>', ['content type text/html: hello', 'content type text/html: hello']],
  ['a refusal', 503, 'text/plain', 'busy', ['HTTP 503', 'HTTP 503']],
  ['nothing', 202, JSON_TYPE, '', ['the response ended without', 'the response ended without']],
  ['no response', 0, JSON_TYPE, '', ['outcome of', 'outcome of']],
])(
  '%s to an array of `connect`: each request of it is answered, or told why not',
  async (_, status, type, body, why) => {
    const server = createServer((req, res) => {
      req.resume().on('end', () => {
        if (status === 0) return void res.destroy();
        res.writeHead(status, { 'content-type': type });
        if (!body.endsWith('CUT')) return void res.end(body);
        res.write(body.slice(0, -'CUT'.length), () => setImmediate(() => res.destroy()));
      });
    });
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const input = new PassThrough();
    const output = new PassThrough({ encoding: 'utf8' });
    const bounds = {
      maxMessageBytes: 1e6,
      maxStreamBufferBytes: 1e6,
      maxBufferedBytes: 1e6,
      stallTimeoutMs: 30_000,
      graceMs: 30_000,
    };
    const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`);
    const over = new StdioBridge({ input, output, url, ...bounds }).run();
    input.end(`${ARRAY}\n`);
    await over;
    server.close();
    const lines = String(output.read()).trim().split('\n');
    const told = lines.flatMap((line) => JSON.parse(line) as { id: unknown; error?: { message: string } }[]);
    expect(told.map(({ id }) => id)).toEqual([1, 'b']);
    const failures = told.flatMap(({ error }) => (error === undefined || error.message === 'm' ? [] : [error.message]));
    expect(failures).toEqual(why.map((each) => expect.stringContaining(each)));
  },
);

test.each([
  ['is gone', undefined],
  ['cannot be brought up', () => Promise.reject(new Error('no room'))],
])('what a gateway may have begun is not told as never sent when it %s since', async (_, revive) => {
  const server = createServer((req) => server.close(() => undefined) && req.socket.destroy());
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const input = new PassThrough();
  const output = new PassThrough({ encoding: 'utf8' });
  const bounds = {
    maxMessageBytes: 1e6,
    maxStreamBufferBytes: 1e6,
    maxBufferedBytes: 1e6,
    stallTimeoutMs: 30_000,
    graceMs: 30_000,
  };
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`);
  const over = new StdioBridge({ input, output, url, ...bounds, ...(revive && { revive }) }).run();
  input.end('{"jsonrpc":"2.0","id":1,"method":"tools/list"}\n');
  await over;
  expect(JSON.parse(String(output.read()))).toMatchObject({
    id: 1,
    error: { data: { code: 'ERR_OUTCOME_UNKNOWN', retryable: false } },
  });
});

test.each([
  ['a body', JSON_TYPE, (text: string) => text],
  ['an event', STREAM, (text: string) => `data: ${text.replace(/[\r\n]/g, '')}\n\n`],
])('a long answer in %s is handed on in pieces, as one line that says the same', async (_, type, framed) => {
  const long = 'a"\u2028é\u0085\\'.repeat(200_000);
  const answer = (id: number): string => `{"jsonrpc":"2.0",\n"result":{"text":${JSON.stringify(long)}},\r\n"id":${id}}`;
  const server = createServer((req, res) => {
    req
      .on('data', () => undefined)
      .on('end', () => {
        res.writeHead(200, { 'content-type': type });
        res.end(type === STREAM ? framed(answer(2)) + framed(answer(1)) : framed(answer(1)));
      });
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const input = new PassThrough();
  const output = new PassThrough({ highWaterMark: 1e9 });
  const pieces: Buffer[] = [];
  output.on('data', (piece: Buffer) => pieces.push(piece));
  const bounds = {
    maxMessageBytes: 1e6,
    maxStreamBufferBytes: 1e6,
    maxBufferedBytes: 1e6,
    stallTimeoutMs: 30_000,
    graceMs: 30_000,
  };
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`);
  const over = new StdioBridge({ input, output, url, ...bounds }).run();
  input.end('{"jsonrpc":"2.0","id":1,"method":"tools/call"}\n');
  await over;
  server.close();
  const text = Buffer.concat(pieces).toString('utf8');
  expect(text.match(/[\r\n\u2028\u0085]/g)).toEqual(['\n']);
  const { result, id } = JSON.parse(text) as { result: { text: string }; id: number };
  expect([id, result.text === long]).toEqual([1, true]);
  // What goes beyond is for other turns of the event loop.
  expect(Math.max(...pieces.map(({ length }) => length))).toBeLessThan(1e6);
});

test('a gateway that says that it closes is left at once, whether its response ends or not', async () => {
  const server = createServer((_req, res) => {
    res.writeHead(503, { 'mcp-poolkit-refused': 'closing' }).write('without end');
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const left = once(server, 'connection').then(([socket]) =>
    once(
      (socket as Socket).on('error', () => undefined),
      'close',
    ),
  );
  const [input, output] = [new PassThrough(), new PassThrough({ encoding: 'utf8' })];
  const bounds = {
    maxMessageBytes: 1e6,
    maxStreamBufferBytes: 1e6,
    maxBufferedBytes: 1e6,
    stallTimeoutMs: 30_000,
    graceMs: 30_000,
  };
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`);
  // On a clock that stands still nothing ends because it is late.
  const over = new StdioBridge({ input, output, url, ...bounds, clock: new FakeClock() }).run();
  input.write('{"jsonrpc":"2.0","id":1,"method":"tools/call"}\n');
  await left;
  input.end();
  await over;
  server.close();
  expect(JSON.parse(String(output.read()))).toMatchObject({ error: { data: { code: 'ERR_NOT_SENT' } } });
});
