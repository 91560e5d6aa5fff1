import fc from 'fast-check';
import { expect, test } from 'vitest';
import { idAtEdge } from '../../../src/connection/channel/unread/idAtEdge.js';
import { LineReader } from '../../../src/connection/stdio/LineReader.js';
import { RUNS, RUNS_TIMEOUT_MS } from '../../support/runs.js';

const MAX = 600;

/** What a reader makes of `bytes`, cut where `cuts` say. */
function read(bytes: Buffer, cuts: readonly number[]): { lines: string[]; over: [string, string, number][] } {
  const lines: string[] = [];
  const over: [string, string, number][] = [];
  const reader = new LineReader(MAX, {
    onLine: (line) => lines.push(line.toString()),
    onOversized: ({ head, tail, bytes: size }) => over.push([head.toString('latin1'), tail.toString('latin1'), size]),
  });
  const at = [...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
  let from = 0;
  for (const to of at) {
    if (to > from) reader.push(bytes.subarray(from, to));
    expect(reader.pendingBytes).toBeLessThanOrEqual(Math.max(MAX, 512));
    from = to;
  }
  reader.end();
  return { lines, over };
}

const line = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 40 }),
  fc.integer({ min: 550, max: 900 }).map((length) => 'ab'.repeat(length).slice(0, length)),
);

test(
  'lines come out as they went in, however the bytes are cut and whatever their ends; long ones as their edges',
  () =>
    fc.assert(
      fc.property(
        fc.array(fc.record({ text: line, end: fc.constantFrom('\n', '\r\n') }), { maxLength: 12 }),
        fc.array(fc.nat(), { maxLength: 20 }),
        fc.boolean(),
        (parts, cuts, ended) => {
          const clean = parts.map(({ text, end }) => ({ text: text.replaceAll(/[\r\n]/g, '.'), end }));
          const all = clean.map(({ text, end }, i) => text + (i < clean.length - 1 || ended ? end : '')).join('');
          const { lines, over } = read(Buffer.from(all), cuts);
          const sized = clean.map(({ text, end }, i) => {
            const bytes = Buffer.from(text + (end === '\r\n' && (i < clean.length - 1 || ended) ? '\r' : ''));
            return { text, bytes };
          });
          expect(lines).toEqual(
            sized.filter(({ text, bytes }) => bytes.length <= MAX && text !== '').map(({ text }) => text),
          );
          expect(over).toEqual(
            sized
              .filter(({ bytes }) => bytes.length > MAX)
              .map(({ bytes }) => [
                bytes.subarray(0, 256).toString('latin1'),
                bytes.subarray(-256).toString('latin1'),
                bytes.length,
              ]),
          );
        },
      ),
      { numRuns: RUNS },
    ),
  RUNS_TIMEOUT_MS,
);

test('the id of a reply is found at its edges; what is no reply, or not its own, is not', () => {
  const pad = 'x'.repeat(300);
  const at = (text: string): number | undefined => {
    const bytes = Buffer.from(text);
    return idAtEdge(bytes.subarray(0, 256), bytes.subarray(-256));
  };
  expect(at(`{"jsonrpc":"2.0","id":7,"result":"${pad}"}`)).toBe(7);
  expect(at(`{"id": 7 , "jsonrpc" : "2.0", "result":"${pad}"}`)).toBe(7);
  expect(at(`{"id":7,"error":{"code":1,"message":"${pad}"}}`)).toBe(7);
  expect(at(`{"jsonrpc":"2.0","result":"${pad}","id":7}`)).toBe(7);
  expect(at(`{"result":{"a":"${pad}"},"jsonrpc":"2.0","id":7}`)).toBe(7);
  expect(at(`{"result":{"a":"${pad}"},"id":7,"jsonrpc":"2.0"} `)).toBe(7);
  // A server's own request counts for itself.
  expect(at(`{"jsonrpc":"2.0","id":7,"method":"x","params":"${pad}"}`)).toBeUndefined();
  expect(at(`{"jsonrpc":"2.0","method":"x","params":"${pad}","id":7}`)).toBeUndefined();
  // Inside the payload it is the payload's.
  expect(at(`{"pad":"${pad}","id":7,"result":"${pad}"}`)).toBeUndefined();
  expect(at(`{"result":{"a":"${pad}","id":7}}`)).toBeUndefined();
});
