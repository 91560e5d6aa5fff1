import { type Front, type Input, SESSION } from '../Input.js';
import { Dice } from './Dice.js';
import { damaged } from './jsonText.js';
import { batch, type Message, message, VERSION } from './messages.js';

type Header = readonly [name: string, value: string];

const PATHS = ['/mcp', '/servers/one/mcp', '/servers/two/mcp'];
const ODD_PATHS = [
  '/servers/none/mcp',
  '/servers/__proto__/mcp',
  '/servers/constructor/mcp',
  '/servers/%00/mcp',
  '/servers/%E0%A4%A/mcp',
  '/servers//mcp',
  '/servers/one/mcp/../../mcp',
  '/mcp/',
  '//mcp',
  '/mcp?a=%ff&a',
  '/',
  '/livez',
  '/groups/none/mcp',
  `/${'x'.repeat(9_000)}/mcp`,
  '*',
];
const ACCEPT = 'application/json, text/event-stream';
const CHARS = 'abcXYZ019-_.~ \t"\'\\/;:,=?&%()<>@{}|^`!#$*+[]\x80\xa0\xff';

/** The input of a seed. */
export function makeInput(seed: number): Input {
  const dice = new Dice(seed);
  const front = dice.of<Front>('listen', 'listen', 'listen', 'handler', 'handler', 'fetch', 'fetch', 'sse');
  const modern = front !== 'sse' && dice.once(2);
  const version = dice.of('2025-11-25', '2025-11-25', '2025-06-18', '2025-03-26');
  const path = front !== 'fetch' && dice.once(25) ? dice.of(...ODD_PATHS) : dice.of(...PATHS);
  const many = dice.once(15);
  const only: Message | undefined = many ? undefined : message(dice, modern);
  const text = only?.text ?? batch(dice, modern);
  const spoilt = dice.once(20);
  const body = spoilt && dice.once(3) ? dice.bytes(200) : bytesOf(spoilt ? damaged(dice, text) : text);
  const method = dice.once(15) ? dice.of('GET', 'GET', 'DELETE', 'PUT', 'HEAD', 'OPTIONS', 'PATCH') : 'POST';
  const regular = headersOf(dice, modern, version, only);
  const odd = front !== 'sse' && dice.once(6);
  const headers = odd ? oddHeaders(dice, regular) : regular;
  const input: Input = { seed, front, method: front === 'sse' ? 'POST' : method, path, headers, body, version, odd };
  const raw = (front === 'listen' || front === 'handler') && dice.once(12);
  return raw ? { ...input, raw: rawBytes(dice, input) } : input;
}

/** Lone surrogates have no UTF-8: what stands for them comes out, or bytes that are none. */
const bytesOf = (text: string): Buffer => Buffer.from(text, 'utf8');

function headersOf(dice: Dice, modern: boolean, version: string, only: Message | undefined): Header[] {
  const headers: Header[] = [
    ['content-type', dice.of('application/json', 'application/json', 'application/json; charset=utf-8')],
    ['accept', dice.of(ACCEPT, ACCEPT, 'application/json', '*/*', 'Application/JSON;q=0.5, Text/Event-Stream')],
  ];
  if (!modern) {
    headers.push(['mcp-session-id', SESSION]);
    if (dice.once(2)) headers.push(['mcp-protocol-version', version]);
    return headers;
  }
  headers.push(['mcp-protocol-version', VERSION]);
  if (only === undefined) return headers;
  headers.push(['mcp-method', headerValue(only.method)]);
  if (only.name !== undefined) headers.push(['mcp-name', headerValue(only.name)]);
  if (dice.once(8)) headers.push(['mcp-param-region', dice.of('x', '=?base64?eA==?=', '=?base64?!?=', '')]);
  return headers;
}

/** As the specification has it: what a header cannot hold is base64. */
const headerValue = (text: string): string =>
  /^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/.test(text) && !text.startsWith('=?base64?')
    ? text
    : `=?base64?${Buffer.from(text, 'utf8').toString('base64')}?=`;

function oddHeaders(dice: Dice, headers: readonly Header[]): Header[] {
  const at = dice.below(headers.length);
  const [name = ''] = headers[at] ?? [];
  const garbage = (): string => Array.from({ length: dice.below(40) }, () => dice.of(...CHARS)).join('');
  const replaced = (value: string): Header[] => headers.map((each, i) => (i === at ? [name, value] : each));
  return dice.made(
    () => headers.filter((_, i) => i !== at),
    () => replaced(garbage()),
    () => replaced('x'.repeat(dice.of(100, 5_000, 20_000))),
    () => [...headers, [name, garbage()]],
    () => [...headers, ['last-event-id', garbage()]],
    () => [...headers, ['origin', dice.of('null', 'https://evil.example', 'http://localhost:1', 'x', garbage())]],
    () => [...headers, ['content-encoding', dice.of('gzip', 'identity', 'br', garbage())]],
    () => [...headers, ['expect', dice.of('100-continue', 'x')]],
    () => [...headers, ['traceparent', garbage()], ['baggage', garbage()]],
    () => [...headers, ['authorization', garbage()]],
    () => [...headers, ...Array.from({ length: dice.of(10, 90) }, (_, i): Header => [`x-${i}`, 'y'])],
    () => [...headers, ['mcp-protocol-version', dice.of(VERSION, '2025-11-25', '2024-11-05', '1', '')]],
  );
}

export function headBytes(
  input: Pick<Input, 'method' | 'path' | 'headers' | 'body'>,
  length: number | undefined,
): Buffer {
  const lines = input.headers.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  const own = length === undefined ? '' : `content-length: ${length}\r\n`;
  return Buffer.from(`${input.method} ${input.path} HTTP/1.1\r\nhost: 127.0.0.1\r\n${lines}${own}\r\n`, 'latin1');
}

const chunk = (data: Buffer, size = data.length.toString(16)): Buffer =>
  Buffer.concat([Buffer.from(`${size}\r\n`), data, Buffer.from('\r\n')]);
const END = Buffer.from('0\r\n\r\n');

/** HTTP itself gone wrong, or in unusual pieces. */
function rawBytes(dice: Dice, input: Input): Buffer[] {
  const { body } = input;
  const head = headBytes(input, body.length);
  const chunkedHead = headBytes({ ...input, headers: [...input.headers, ['transfer-encoding', 'chunked']] }, undefined);
  const half = dice.below(body.length + 1);
  return dice.made(
    // In pieces of any size, in the middle of characters too.
    () => [head, body.subarray(0, half), body.subarray(half)],
    () => [...Array.from(head.subarray(0, 60), (byte) => Buffer.from([byte])), head.subarray(60), body],
    () => [chunkedHead, chunk(body.subarray(0, half)), chunk(body.subarray(half)), END],
    () => [chunkedHead, ...Array.from(body.subarray(0, 200), (byte) => chunk(Buffer.from([byte]))), END],
    // Lengths that lie.
    () => [headBytes(input, body.length + dice.of(1, 1_000, 2 ** 31, 2 ** 53)), body],
    () => [headBytes(input, Math.max(0, body.length - dice.of(1, 5))), body],
    () => [
      headBytes(
        { ...input, headers: [...input.headers, ['content-length', dice.of('-1', '1e3', '0x10', '1,1', '')]] },
        undefined,
      ),
      body,
    ],
    () => [
      headBytes(
        {
          ...input,
          headers: [
            ...input.headers,
            ['transfer-encoding', dice.of('chunked', 'chunked, chunked', 'gzip', 'xchunked')],
          ],
        },
        body.length,
      ),
      body,
    ],
    // Chunks that are none.
    () => [
      chunkedHead,
      chunk(body, dice.of('zz', '-1', 'ffffffffffffffff', '', `${body.length.toString(16)};a=b`, '1')),
      END,
    ],
    () => [chunkedHead, chunk(body), Buffer.from(dice.of('0\r\nx: y\r\n\r\n', '0\r\n', '0\n\n', 'x'))],
    // Heads that are none.
    () => [dice.bytes(300)],
    () => [Buffer.from(head.toString('latin1').replaceAll('\r\n', '\n'), 'latin1'), body],
    () => [head.subarray(0, dice.below(head.length))],
    () => [
      Buffer.from(
        `${dice.of('GET', 'POST', 'FOO', '', 'CONNECT', 'TRACE', 'PRI')} ${dice.of('/mcp', '', 'http://[', '/mcp HTTP/9.9')} HTTP/1.1\r\nhost: ${dice.of('127.0.0.1', 'evil.example', '', '127.0.0.1:99999', '[::1')}\r\n\r\n`,
      ),
    ],
    () => [Buffer.from(`GET /livez HTTP/1.0\r\n\r\n`)],
    () => [Buffer.from(`POST /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\n${'x: y\r\n'.repeat(dice.of(100, 3_000))}\r\n`)],
    // Several at once.
    () => [Buffer.concat([head, body, head, body, head, body])],
  );
}
