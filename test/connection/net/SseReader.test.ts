import assert from 'node:assert/strict';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type SseEvent, SseReader } from '../../../src/connection/net/body/events/SseReader.js';
import { IncomingBytes } from '../../../src/connection/net/body/IncomingBytes.js';
import { RUNS } from '../../support/runs.js';

interface Told {
  readonly events: SseEvent[];
  readonly retries: number[];
  oversized: number;
}

const unbounded = new IncomingBytes(Number.POSITIVE_INFINITY);

function reading(maxEventBytes: number, incoming: IncomingBytes): { readonly reader: SseReader; readonly told: Told } {
  const told: Told = { events: [], retries: [], oversized: 0 };
  const reader = new SseReader(maxEventBytes, incoming);
  reader.begin({
    onEvent: ({ id, event, data }) => told.events.push({ id, event, data }),
    onRetry: (delayMs) => told.retries.push(delayMs),
    onOversized: () => told.oversized++,
  });
  return { reader, told };
}

function read(chunks: readonly Buffer[], maxEventBytes = 1_000_000): Told {
  const { reader, told } = reading(maxEventBytes, unbounded);
  for (const chunk of chunks) reader.push(chunk);
  return told;
}

const line = fc.string({ unit: 'grapheme', maxLength: 12 }).map((text) => text.replace(/[\r\n\0]/g, '·'));
const event = fc.record({
  id: fc.option(line, { nil: undefined }),
  event: fc.option(
    line.filter((name) => name !== ''),
    { nil: undefined },
  ),
  data: fc.array(line, { minLength: 1, maxLength: 3 }),
  comment: fc.constantFrom('none', 'before', 'within', 'behind'),
});
const ending = fc.constantFrom('\n', '\r\n', '\r');

test('a body cut at every byte, or anywhere, with any line ends, gives the events that were written', () =>
  fc.assert(
    fc.property(
      fc.array(event, { maxLength: 5 }),
      ending,
      fc.boolean(),
      fc.infiniteStream(fc.nat(9)),
      (events, end, mark, cuts) => {
        const lines = events.flatMap(({ id, event: name, data, comment }) => [
          ...(comment === 'before' ? [': a comment', ':', ':: another'] : []),
          ...(id === undefined ? [] : [`id: ${id}`]),
          ...(name === undefined ? [] : [`event: ${name}`]),
          ...data.flatMap((each) => (comment === 'within' ? [`data: ${each}`, `:${each}`] : `data: ${each}`)),
          '',
          ...(comment === 'behind' ? [':', ': a comment'] : []),
        ]);
        const body = Buffer.from((mark ? '\ufeff' : '') + lines.map((each) => each + end).join(''));
        const wanted = events.map(({ id, event: name, data }) => ({ id, event: name, data: data.join('\n') }));
        expect(read([body]).events).toEqual(wanted);
        expect(read([...body].map((byte) => Buffer.of(byte))).events).toEqual(wanted);
        const chunks: Buffer[] = [];
        for (let at = 0; at < body.length; ) {
          const size = 1 + (cuts.next().value ?? 0);
          chunks.push(body.subarray(at, at + size));
          at += size;
        }
        expect(read(chunks).events).toEqual(wanted);
      },
    ),
    { numRuns: RUNS },
  ));

test('half an event is none, and `retry` is told', () => {
  expect(read([Buffer.from('retry: 30\n\ndata: whole\n\ndata: half\n')])).toEqual({
    events: [{ id: undefined, event: undefined, data: 'whole' }],
    retries: [30],
    oversized: 0,
  });
});

test('an event over the cap is told once, in one chunk or many, and ends the reading', () => {
  const body = Buffer.from(`data: ok\n\ndata: ${'x'.repeat(2_000)}\n\ndata: after\n\n`);
  const chunks = [...body].map((byte) => Buffer.of(byte));
  for (const cut of [[body], chunks]) {
    const told = read(cut, 1_000);
    expect(told.events).toHaveLength(1);
    expect(told.oversized).toBe(1);
  }
});

test('an event over the cap is passed over on a stream that goes on', () => {
  const long = 'x'.repeat(600_000);
  const body = Buffer.from(`data: ok\n\nid: 1\ndata: {"id": 7, "result": "${long}"}\n\ndata: after\n\n`);
  for (const size of [1_000, 65_536, 550_000]) {
    const told: string[] = [];
    const reader = new SseReader(599_999, unbounded);
    reader.begin({
      onEvent: ({ data }) => told.push(data),
      onRetry: () => undefined,
      onOversized: () => expect.unreachable(),
      onLongEvent: () => expect.unreachable(),
      onSkipped: ({ head, tail }) => told.push(String(head).trim().slice(0, 8), String(tail).trim().slice(-3)),
    });
    for (let at = 0; at < body.length; at += size) reader.push(body.subarray(at, at + size));
    expect(told).toEqual(['ok', '{"id": 7', 'x"}', 'after']);
  }
});

test('so is one of many lines, however it is cut and its lines end', () => {
  const long = Array(40).fill('0123456789'.repeat(5)).join('\ndata: ');
  const text = `data: ok\n\nid: 1\ndata: {"id": 7,\n: a comment\ndata: ${long}\ndata: "id": 8}\n:\nretry: 5\n\n\ndata: after\n\n`;
  for (const end of ['\n', '\r\n', '\r']) {
    const body = Buffer.from(text.replaceAll('\n', end));
    for (const size of [1, 2, 3, 7, 256, 10_000]) {
      const incoming = new IncomingBytes(Number.POSITIVE_INFINITY);
      const reader = new SseReader(1_024, incoming);
      const told: string[] = [];
      reader.begin({
        onEvent: ({ data }) => told.push(data),
        onRetry: () => undefined,
        onOversized: () => expect.unreachable(),
        onSkipped: ({ head, tail }) => told.push(String(head).trim().slice(0, 8), String(tail).trim().slice(-8)),
      });
      for (let at = 0; at < body.length; at += size) {
        reader.push(body.subarray(at, at + size));
        assert(reader.pending <= 1_024 + 500);
      }
      expect(told, JSON.stringify([end, size])).toEqual(['ok', '{"id": 7', '"id": 8}', 'after']);
      expect([reader.pending, incoming.bytes]).toEqual([0, 0]);
    }
  }
});

test('an event of exactly the cap passes, however it is cut and its lines end; one byte more does not', () => {
  for (const end of ['\n', '\r\n', '\r']) {
    for (const size of [1, 7, 10_000]) {
      for (const bytes of [1_000, 1_001]) {
        const body = Buffer.from(
          `id: 1${end}data: ${'x'.repeat(500)}${end}data: ${'x'.repeat(bytes - 501)}${end}${end}`,
        );
        const chunks = Array.from({ length: Math.ceil(body.length / size) }, (_, i) =>
          body.subarray(i * size, (i + 1) * size),
        );
        const told = read(chunks, 1_000);
        expect([told.events.length, told.oversized], `${size} ${bytes}`).toEqual(bytes === 1_000 ? [1, 0] : [0, 1]);
      }
    }
  }
});

test('of comments nothing is kept, however many or long they are, and whatever stands before them', () => {
  const incoming = new IncomingBytes(1_000);
  const { reader, told } = reading(1_024, incoming);
  for (const before of ['', 'data: [1,\n', '\ndata: [1,\n']) {
    reader.push(Buffer.from(before));
    for (let i = 0; i < 20; i++) reader.push(Buffer.from(`${': hi\n'.repeat(1_000)}: ${'x'.repeat(5_000)}`));
    reader.push(Buffer.from('\n'));
    expect(reader.pending).toBe(before.trim() === '' ? 0 : 'data: [1,\n'.length);
  }
  reader.push(Buffer.from('data: 2]\n: the end\n\n'));
  expect(told.events.map(({ data }) => data)).toEqual(['[1,', '[1,\n2]']);
  expect(incoming.bytes).toBe(0);
});

test.each(['data', 'data: x', 'id: 1', 'event: e', 'retry: 5', 'unknown'])(
  'lines of %j without a blank line count as an event that stands open, and end the stream beyond its cap',
  (line) => {
    const incoming = new IncomingBytes(Number.POSITIVE_INFINITY);
    const { reader, told } = reading(2 * 1_024 * 1_024, incoming);
    const chunk = Buffer.from(`${line}\n`.repeat(1_024));
    let kept = 0;
    for (let i = 0; i < 2_000 && told.oversized === 0; i++) {
      reader.push(chunk);
      if (told.oversized > 0) break;
      kept += chunk.length;
      expect([reader.pending, incoming.bytes]).toEqual([kept, kept > 16_384 ? kept : 0]);
    }
    expect(told.oversized).toBe(1);
    // The parser makes a piece of memory of each line: a cap on bytes alone would let it have twelve times as much.
    expect(kept / (line.length + 1)).toBeLessThanOrEqual(65_536);
    expect([reader.pending, incoming.bytes, told.retries]).toEqual([0, 0, []]);
  },
);

test('an event that stands open has no more room than is left of what may be on its way', () => {
  const incoming = new IncomingBytes(10_000);
  const { reader, told } = reading(1_000_000, incoming);
  reader.push(Buffer.from(`data: ${'x'.repeat(9_000)}`));
  expect(() => reader.push(Buffer.from('x'.repeat(9_000)))).toThrow('maxIncomingBytes');
  reader.end();
  expect(incoming.bytes).toBe(0);
  expect(told).toEqual({ events: [], retries: [], oversized: 0 });
});

test('data of many lines is kept by itself while it comes, however it is cut and its lines end, and has as many as it likes', () => {
  const lines = Array.from({ length: 90_000 }, (_, at) => (at % 3 === 0 ? '' : ` ${at},`));
  const data = `{\n${lines.join('\n')}\n}`;
  const event = `id: 1\ndata: ${data.replaceAll('\n', '\n:comment\ndata: ')}\n`;
  const behind = 'data: {"other": 1}\n\n';
  for (const [end, size, more, before] of [
    ['\n', 1_000, '', ''],
    ['\n', 65_536, 'retry: 5\n', 'event: data'],
    ['\r\n', 7_001, '', ''],
    ['\r', 65_536, 'id: 2\ndata: more\n', 'id: data:1\ndatum: 0'],
    ['\n', 13, '', ''],
  ] as const) {
    const body = Buffer.from(`${before}\n${event}${more}\n${behind}`.replaceAll('\n', end));
    const told: unknown[] = [];
    let long = 0;
    const reader = new SseReader(1_000_000, unbounded);
    reader.begin({
      onEvent: ({ id, data: given }) => told.push([id, given]),
      onRetry: () => undefined,
      onOversized: () => expect.unreachable(),
      onLongEvent: ({ id }, given) => told.push([id, String(given.take()), ++long]),
    });
    for (let at = 0; at < body.length; at += size) reader.push(body.subarray(at, at + size));
    const whole = more.includes('more') ? ['2', `${data}\nmore`] : ['1', data, 1];
    expect(told, JSON.stringify([end, size])).toEqual([whole, [undefined, '{"other": 1}']]);
    expect(reader.pending).toBe(0);
  }
});

test('an event of very many lines that are no data is too large', () => {
  const chunk = Buffer.from('x\n'.repeat(30_000));
  const told: string[] = [];
  const reader = new SseReader(64e6, unbounded);
  reader.begin({
    onEvent: ({ data }) => told.push(data),
    onRetry: () => undefined,
    onOversized: () => told.push('too large'),
    onLongEvent: () => expect.unreachable(),
  });
  for (const each of [chunk, chunk, chunk, Buffer.from('data: 1\n\n')]) reader.push(each);
  expect(told).toEqual(['too large']);
});
