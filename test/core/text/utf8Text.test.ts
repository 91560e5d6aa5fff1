import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { utf8Text } from '../../../src/core/text/utf8Text.js';

/** Bytes are made into text as Node makes them, whatever they are. */

const PIECES = ['x', 'é', '語', '😀', '\u{feff}', '\ud800', '\n'].map((text) => Buffer.from(text.repeat(700)));
const GARBAGE = [[0xff], [0xc3], [0xe8, 0xaa], [0xed, 0xa0, 0x80], [0xf0, 0x9f], [0x80], [0xef, 0xbb, 0xbf], [0]];

test('any bytes make the text that Node makes of them', () =>
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.constantFrom(...PIECES), fc.constantFrom(...GARBAGE.map((each) => Buffer.from(each)))), {
        maxLength: 6,
      }),
      (parts) => {
        const bytes = Buffer.concat(parts);
        expect(utf8Text(bytes) === bytes.toString()).toBe(true);
        // Also where they stand in the midst of others, at an odd place.
        const inside = Buffer.concat([Buffer.from('x'), bytes, Buffer.from('y')]).subarray(1, -1);
        expect(utf8Text(inside) === bytes.toString()).toBe(true);
      },
    ),
  ));

test('long text of any language is not made by the decoder that takes 6 ns for each byte', () => {
  const text = 'é語😀'.repeat(1_000);
  const bytes = Buffer.from(text);
  using decoder = vi.spyOn(Buffer.prototype, 'toString');
  expect(utf8Text(bytes) === text).toBe(true);
  expect(decoder.mock.calls).toEqual([['utf16le']]);
});
