import { isUtf8 } from 'node:buffer';
import { expect, test } from 'vitest';
import { LongMessage, SCAN_BYTES } from '../../../src/connection/channel/large/LongMessage.js';
import { LineReader } from '../../../src/connection/stdio/LineReader.js';

const PARTS = ['{"jsonrpc":"2.0","id":1,"result":{"a":"', [0xe8, 0xaa], [0x9e, 0xff, 0xc3], '","b":"é"}}'].map((part) =>
  Buffer.from(part as string),
);

test('what is no UTF-8 in a long answer is replaced as it comes, so that the whole is never decoded; no character is cut', () => {
  const [first = Buffer.alloc(0), ...rest] = PARTS;
  const message = new LongMessage([first], true);
  for (const part of rest) message.push(part);
  const reply = message.end();
  expect(isUtf8(message.bytes)).toBe(true);
  expect(message.bytes.toString('utf8', reply?.start, reply?.end)).toBe('{"a":"語\ufffd\ufffd","b":"é"}');
});

test('what takes it gets the beginning of a character that has come, and the rest as it comes', () => {
  const taken: Buffer[] = [];
  const taker = { push: (part: Buffer) => void taken.push(part), end: () => undefined };
  const begun = Buffer.concat([Buffer.from(`{"id":1,"result":"${'x'.repeat(2 ** 20)}`), Buffer.from([0xe8, 0xaa])]);
  const message = new LongMessage([begun], true, (parts) => {
    taken.push(...parts);
    return taker;
  });
  message.push(Buffer.from([0x9e, 0x22, 0x7d]));
  expect(Buffer.concat(taken).toString().slice(-4)).toBe('x語"}');
});

test('a long line of bytes that are no UTF-8 comes whole', () => {
  const lines: string[] = [];
  const reader = new LineReader(2 ** 20, {
    onLine: (line) => void lines.push(line.toString()),
    onOversized: () => undefined,
  });
  const line = Buffer.concat([Buffer.from('{"id":1,"result":"'), Buffer.alloc(SCAN_BYTES, 0xe9), Buffer.from('"}\n')]);
  for (let at = 0; at < line.length; at += 65_536) reader.push(line.subarray(at, at + 65_536));
  expect(lines).toEqual([`{"id":1,"result":"${'\ufffd'.repeat(SCAN_BYTES)}"}`]);
});
