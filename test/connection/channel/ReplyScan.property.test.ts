import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type RawReply, scanReply } from '../../../src/connection/channel/codec/envelope.js';
import { ReplyScan } from '../../../src/connection/channel/codec/ReplyScan.js';
import { LineReader } from '../../../src/connection/stdio/LineReader.js';
import { RUNS, RUNS_TIMEOUT_MS } from '../../support/runs.js';

function inPieces(line: Buffer, cuts: readonly number[]): RawReply | undefined {
  const scan = new ReplyScan();
  let from = 0;
  for (const to of [...cuts.map((cut) => cut % (line.length + 1)), line.length].sort((a, b) => a - b)) {
    scan.push(line.subarray(from, to));
    from = to;
  }
  return scan.end();
}

const member = fc.oneof(
  fc.tuple(fc.constantFrom('jsonrpc', 'jsonrpc', 'result', 'method', 'error', '_meta'), fc.json({ maxDepth: 3 })),
  fc.tuple(fc.constant('result'), fc.json({ maxDepth: 4 })),
  fc.tuple(
    fc.constant('id'),
    fc.constantFrom(
      '1',
      '"17"',
      'null',
      'true',
      '[]',
      '[1]',
      '{"a":2}',
      '1.5',
      '2e1',
      '-3',
      '0',
      '12345678901234567890',
    ),
  ),
);
const spaced = fc.constantFrom('', '', ' ', '\t\r\n');

test(
  'a line in pieces is the reply that it is as a whole, also with one character changed or lost',
  () =>
    fc.assert(
      fc.property(
        fc.array(fc.tuple(member, spaced, spaced), { maxLength: 4 }),
        fc.array(fc.nat(), { maxLength: 6 }),
        fc.nat(),
        fc.constantFrom('', '', '{', ']', '"', '\\', ',', ':', '0', '-', '.', 'e', 'n', 'u', '\u0001', 'é', ' ', '}'),
        fc.nat({ max: 2 }),
        (members, cuts, place, char, change) => {
          const text = `{${members.map(([[key, json], a, b]) => `${a}"${key}"${b}:${a}${json}${b}`).join(',')}}`;
          const at = place % text.length;
          const odd = change === 0 ? text : text.slice(0, at) + char + text.slice(at + change - 1);
          const line = Buffer.from(odd);
          expect([odd, inPieces(line, cuts)]).toEqual([odd, scanReply(line)]);
        },
      ),
      { numRuns: RUNS * 10 },
    ),
  RUNS_TIMEOUT_MS,
);

test('a line of megabytes is read while it comes, and is the reply that it is as a whole', () => {
  const value = { content: [{ type: 'text', text: 'ü"\\'.repeat(400_000) }, { n: [1, -2.5e3, true, null] }] };
  const texts = [
    JSON.stringify({ result: value, jsonrpc: '2.0', id: 7 }),
    JSON.stringify({ jsonrpc: '2.0', method: 'notifications/x', params: value }),
    `{"id":8,"result":"${'x'.repeat(2_000_000)}`,
  ];
  const seen: [string, RawReply | null | undefined][] = [];
  const reader = new LineReader(
    10_000_000,
    { onLine: (line, reply) => seen.push([line.toString(), reply]), onOversized: () => expect.unreachable() },
    { scan: () => true },
  );
  const bytes = Buffer.from(`${texts.join('\n')}\n`);
  for (let at = 0; at < bytes.length; at += 65_536) reader.push(bytes.subarray(at, at + 65_536));
  expect(seen.map(([text]) => text === texts[seen.findIndex(([each]) => each === text)])).toEqual([true, true, true]);
  expect(seen.map(([, reply]) => reply)).toEqual([scanReply(Buffer.from(texts[0] ?? '')), null, null]);
  expect(seen[0]?.[1]?.id).toBe(7);
});

test('a reply may be as deep as it is long, and its depth takes next to no memory', () => {
  const levels = 8_000_000;
  const scanned = (): number => {
    const scan = new ReplyScan();
    const before = process.memoryUsage().heapUsed;
    scan.push(Buffer.from('{"id":1,"result":'));
    scan.push(Buffer.alloc(levels, '['));
    const held = process.memoryUsage().heapUsed - before;
    scan.push(Buffer.alloc(levels, ']'));
    scan.push(Buffer.from('}'));
    expect(scan.end()).toEqual({ id: 1, start: 17, end: 17 + 2 * levels });
    return held;
  };
  // What else the process does in that moment counts, too: the least of a few.
  expect(Math.min(scanned(), scanned(), scanned())).toBeLessThan(16_000_000);
  // Each end must be that of the value that it ends, however deep.
  const [open, close] = ['[{"a":'.repeat(2_000), '}]'.repeat(2_000)];
  for (const at of [0, 1, 1_999, 3_998, 3_999]) {
    const right = Buffer.from(`{"id":1,"result":${open}1${close}}`);
    const wrong = Buffer.from(right);
    const offset = right.length - 1 - close.length + at;
    wrong.write(right[offset] === 0x5d ? '}' : ']', offset);
    const ends = [right, wrong].map((bytes) => {
      const each = new ReplyScan();
      each.push(bytes);
      return each.end() !== undefined;
    });
    expect(ends).toEqual([true, false]);
  }
});

test('integers in arrays and objects are read in pieces as they are as a whole', () =>
  fc.assert(
    fc.property(
      fc.array(
        fc.constantFrom('1', '20', '0', '01', '-1', '1.5', '1e2', '', ' 3', '4 ', '[5,6]', '{"a":7,8', '9]', 'x'),
        { maxLength: 8 },
      ),
      fc.array(fc.nat(), { maxLength: 6 }),
      (items, cuts) => {
        const line = Buffer.from(`{"id":1,"result":{"v":[${items.join(',')}]}}`);
        expect([String(line), inPieces(line, cuts)]).toEqual([String(line), scanReply(line)]);
      },
    ),
    { numRuns: RUNS * 4 },
  ));
