import fc from 'fast-check';
import { expect, test } from 'vitest';
import { IncomingBytes } from '../../../src/connection/net/body/IncomingBytes.js';
import { EventSplitter } from '../../../src/testing/proxy/http/EventSplitter.js';
import { readBody } from '../../../src/testing/wire/http/readBody.js';

test('events are the same however a stream is cut', () => {
  const part = fc.constantFrom('data: é', 'event: x', ':', '\n', '\r\n', '\r', '\n\n', '\r\n\r\n', '\r\r');
  fc.assert(
    fc.property(fc.array(part), fc.array(fc.nat(20)), (parts, cuts) => {
      // A CR that ends a chunk may be half of a line end: it is not cut there, as no writer of whole lines does.
      const bytes = Buffer.from(parts.join(''));
      const whole = new EventSplitter();
      const pieces = new EventSplitter();
      const events = [];
      let from = 0;
      for (const cut of cuts) {
        let until = Math.min(bytes.length, from + cut);
        while (bytes[until - 1] === 0x0d && until < bytes.length) until++;
        events.push(...pieces.push(bytes.subarray(from, until)));
        from = until;
      }
      events.push(...pieces.push(bytes.subarray(from)));
      expect([events, pieces.end()]).toEqual([whole.push(bytes), whole.end()]);
    }),
  );
});

test('an event without an end is refused at a bound', () => {
  const splitter = new EventSplitter(100);
  splitter.push(Buffer.alloc(100, 'x'));
  expect(() => splitter.push(Buffer.from('x'))).toThrow('an event of more than 100 characters');
});

test('an event of a hundred megabytes in many parts is put together once', () => {
  const splitter = new EventSplitter();
  const part = Buffer.alloc(64 * 1_024, 'x');
  splitter.push(Buffer.from('data: "'));
  for (let n = 0; n < 1_600; n++) splitter.push(part);
  const [event] = splitter.push(Buffer.from('"\n\n'));
  expect(event?.data?.length).toBe(1_600 * part.length + 2);
  expect(splitter.end()).toBeUndefined();
});

test('events and bodies that have not ended are held within one bound, and count no longer than that', async () => {
  const held = new IncomingBytes(1_000);
  const splitters = Array.from({ length: 4 }, () => new EventSplitter(undefined, held));
  const [one, two, three] = splitters as [EventSplitter, EventSplitter, EventSplitter];
  one.push(Buffer.alloc(400, 'x'));
  two.push(Buffer.alloc(400, 'x'));
  expect(() => three.push(Buffer.alloc(400, 'x'))).toThrow('events that have not ended: ');
  three.stop();
  const body = async function* (): AsyncGenerator<Buffer> {
    yield Buffer.alloc(150);
    yield Buffer.alloc(150);
  };
  await expect(readBody(body(), undefined, held)).rejects.toThrow('1100 bytes');
  // Whole ones are held no longer, nor is what came with a stream that has broken off.
  expect(one.push(Buffer.from('\n\nab'))).toHaveLength(1);
  two.stop();
  expect(held.bytes).toBeLessThanOrEqual(8);
  expect(await readBody(body(), undefined, held)).toHaveLength(300);
  one.stop();
  expect(held.bytes).toBe(0);
});
