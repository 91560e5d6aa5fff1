import { expect, test } from 'vitest';
import { severalIn } from '../../../src/connection/channel/unread/severalIn.js';
import { messageIn } from '../../../src/connection/stdio/messageIn.js';
import { ProtocolError } from '../../../src/core/errors.js';
import { FakeClock } from '../../../src/testing/FakeClock.js';
import { failure } from '../../support/rawCalls.js';
import { fixture } from '../../support/servers.js';
import { call, open } from '../../support/stdioConnection.js';

const NOTICE = JSON.stringify({
  jsonrpc: '2.0',
  method: 'notifications/message',
  params: { level: 'info', data: '}{' },
});

/** A call that is answered so: `answer` is the text of a JSON-RPC answer there. */
const js = (line: string): string =>
  `const answer = JSON.stringify({ jsonrpc: '2.0', id, result: { a: 1 } }); out(${line} + '\\n')`;

test.each([
  ['progress that writes over itself', "'Loading 10%\\rLoading 100%\\r' + answer"],
  ['progress with colours', "'\\u001b[32m10%\\r\\u001b[0m ' + answer + '\\r\\r'"],
  ['a line of an event stream', "'data: ' + answer + '\\n'"],
  ['a notice on the same line', `${JSON.stringify(NOTICE)} + answer`],
  ['a notice behind it', `answer + ' ' + ${JSON.stringify(NOTICE)}`],
  ['a notice and a comma', `${JSON.stringify(NOTICE)} + ', ' + answer`],
  ['progress that writes over it', "answer + '\\r 50%\\r 100% {}'"],
  ['progress between messages', `${JSON.stringify(NOTICE)} + '\\r 50%\\r' + answer + '\\r100%'`],
])('an answer is read behind what cannot belong to it: %s', async (_, line) => {
  const connection = await open([fixture('hostile-server.mjs')]);
  for (const raw of [false, true]) {
    const answer = await call(connection, 'x', { js: js(line) }, { raw });
    expect(raw ? JSON.parse(String(answer)) : answer).toEqual({ a: 1 });
  }
  expect(connection.counters.garbage).toBe(0);
});

test.each([
  ['behind', "'[debug] ' + answer", 'stands behind other text'],
  ['in front of', "answer + ' <- sent'", 'other text behind it'],
])(
  'an answer %s other text, which may quote it, fails its call after a while, unless the answer itself comes',
  async (_, line, why) => {
    const clock = new FakeClock();
    const connection = await open([fixture('hostile-server.mjs')], { clock, timeoutMs: 60_000 });
    const lost = failure(call(connection, 'x', { js: js(line) }));
    await expect.poll(() => connection.counters.garbage).toBe(1);
    const logged = js(`${line.replace('answer', "answer.replace('1}', '2}')")} + '\\n' + answer`);
    expect(await call(connection, 'x', { js: logged })).toEqual({ a: 1 });
    expect(connection.inFlight).toBe(1);
    await clock.advance(5_100);
    const message = expect.stringContaining(why);
    expect(await lost).toMatchObject({ constructor: ProtocolError, message });
    expect(connection.alive).toBe(true);
  },
);

test('what is no message, or more than messages, is none', () => {
  const [one, two] = ['{"a":"}"}', '{"b":[{}]}'];
  const texts = (text: string): string[] => severalIn(Buffer.from(text)).map(String);
  expect(texts(`${one} ${two}${one}\t`)).toEqual([one, two, one]);
  expect(texts(`${one} , ${two},${one}`)).toEqual([one, two, one]);
  expect(texts(`${one}\r x ${two}\r${two}\rx`)).toEqual([one, two]);
  for (const text of [
    '',
    one,
    `${one}\r\r`,
    `${one},`,
    `,${one}`,
    `${one},,${two}`,
    `${one}x\r${two}`,
    `\rx\r${one}`,
    `${one}x`,
    `${one}[1]`,
    `${one}{"b":`,
    '{}'.repeat(401),
  ])
    expect(texts(text)).toEqual([]);
  const message = (text: string): string | undefined => messageIn(Buffer.from(text))?.toString();
  expect(message(`x\r${one}`)).toBe(one);
  for (const text of ['Loading\r', 'data:', 'data: x', `x ${one}`, '\r\r', `${one}\rx`.slice(9)])
    expect(message(text)).toBeUndefined();
});

test.each([
  'Starting...',
  'server running on stdio ',
  '\r[==  ] 50%\r[====] 100%\r',
  'config {a:1} loaded ',
  '> ',
  '\ufeff\ufeff',
  '🚀 ',
])('a handshake is read behind words without an end of their line: %j', async (words) => {
  const server = `require('readline').createInterface({ input: process.stdin }).on('line', (line) => {
      const { id, method } = JSON.parse(line);
      if (id === undefined) return;
      const serverInfo = { name: 'x', version: '1' };
      const result = method === 'initialize' ? { protocolVersion: '2025-06-18', capabilities: { tools: {} }, serverInfo } : { a: 1 };
      const error = { code: -32601, message: 'unknown' };
      const answer = method === 'server/discover' ? { error } : { result };
      process.stdout.write((method === 'tools/call' ? '' : ${JSON.stringify(words)}) + JSON.stringify({ jsonrpc: '2.0', id, ...answer }) + '\\n');
    });`;
  const connection = await open(['-e', server]);
  expect(await call(connection, 'x')).toEqual({ a: 1 });
});
