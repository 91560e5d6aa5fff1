import fc from 'fast-check';
import { expect, test } from 'vitest';
import { SseReader } from '../../../src/connection/net/body/SseReader.js';
import { RUNS } from '../../support/runs.js';

interface Told {
  readonly events: object[];
  readonly retries: number[];
  oversized: number;
}

function read(chunks: readonly Buffer[], maxEventBytes = 1_000_000): Told {
  const told: Told = { events: [], retries: [], oversized: 0 };
  const reader = new SseReader(maxEventBytes);
  reader.begin({
    onEvent: ({ id, event, data }) => told.events.push({ id, event, data }),
    onRetry: (delayMs) => told.retries.push(delayMs),
    onOversized: () => told.oversized++,
  });
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
  comment: fc.boolean(),
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
          ...(comment ? [': a comment'] : []),
          ...(id === undefined ? [] : [`id: ${id}`]),
          ...(name === undefined ? [] : [`event: ${name}`]),
          ...data.map((each) => `data: ${each}`),
          '',
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
