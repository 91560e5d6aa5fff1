import { expect, test } from 'vitest';
import {
  costOf,
  costsMore,
  MAX_UNASKED_COST,
  parsableText,
} from '../../../src/connection/channel/codec/parsingCost.js';
import { readMessages } from '../../../src/gateway/rpc/readMessages.js';

/** Bytes of the largest body but its envelope. */
const BODY_BYTES = 3_900_000;

/** An array whose items are made one by one, of so many bytes. */
function arrayOf(item: (at: number) => string, bytes: number): string {
  const items: string[] = [];
  for (let length = 0; length < bytes; length += (items.at(-1)?.length ?? 0) + 1) items.push(item(items.length));
  return `[${items.join(',')}]`;
}

/** Units of 2 ns for each item beside its comma. */
const shapes: readonly (readonly [string, (at: number) => string, number])[] = [
  ['short strings, all different,', (at) => `"${at + 100_000}"`, 180],
  ['the same with escapes', (at) => `"\\u0061${at + 100_000}"`, 180],
  ['the same with characters of two and three bytes', (at) => `"é語${at + 100_000}"`, 180],
  ['short strings that come again', () => '"abc"', 40],
  ['strings that are not short', (at) => `"a text of words ${at}"`, 40],
  ['numbers of one digit', () => '0', 8],
  ['numbers of many digits', () => '1'.repeat(750), 6_000],
  ['fractions with exponents', () => '1.234e-300', 71],
  ['numbers with blanks', () => `1${' '.repeat(7)}`, 43],
  ['names, all different,', (at) => `{"k${at}":0}`, 1_603],
  ['names that differ in their first characters alone', (at) => `{"${at}${'k'.repeat(40)}":0}`, 1_603],
  ['empty arrays', () => '[]', 90],
];

test.each(shapes)('%s weigh what they take', (_, item, each) => {
  const items = Array.from({ length: 300 }, (_each, at) => item(at));
  const ofItems = costOf(items.join(), Number.POSITIVE_INFINITY) - 299 * 15;
  // Of what comes again the first is new.
  expect(Math.floor(ofItems / 300)).toBe(each);
});

test.each([
  ['short strings', (at: number) => `"${at}"`],
  ['fractions with exponents', () => '1.234e-300'],
  ['numbers of many digits', () => `1.${'1'.repeat(750)}`],
])('what was not asked for, full of %s, is not parsed', (_, item) => {
  const text = arrayOf(item, 2_700_000);
  const body = `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":${text}}}`;
  expect(readMessages(body, {})).toMatchObject({ status: 413 });
  expect(() => parsableText(text, { answers: () => undefined })).toThrow('too many values');
});

test('names that a known hash makes the same are new all the same, and a string is not a name that was seen', () => {
  // With a factor of 31, `Aa` and `BB` are the same.
  const names = Array.from({ length: 256 }, (_, at) =>
    at.toString(2).padStart(8, '0').replaceAll('0', 'Aa').replaceAll('1', 'BB'),
  );
  const objects = names.map((name) => `{"${name}":0}`).join();
  expect(costOf(objects, Number.POSITIVE_INFINITY)).toBeGreaterThan(250 * 1_600);
  const both = names.map((name) => `"${name.slice(0, 9)}",{"${name.slice(0, 9)}":0}`).join();
  const alone = names.map((name) => `{"${name.slice(0, 9)}":0}`).join();
  expect(costOf(both, Number.POSITIVE_INFINITY)).toBeGreaterThan(costOf(alone, Number.POSITIVE_INFINITY));
});

test('a long name is looked at once, however many colons follow', () => {
  expect(costOf(`{"${'k'.repeat(1_000_000)}"${':'.repeat(400_000)}`, 2 ** 40)).toBe(85 + 1_505 + 1_505 + 399_998 * 45);
});

const row = (id: number): unknown => ({
  id,
  name: `name ${id}`,
  tags: ['a', 'b'],
  at: { x: id / 7, y: -id },
  note: null,
});

test.each([
  ['one string', JSON.stringify('x'.repeat(BODY_BYTES))],
  ['base64', JSON.stringify(Buffer.alloc(2_900_000, 'any bytes').toString('base64'))],
  ['a text with escapes', JSON.stringify('a "line"\n'.repeat(300_000))],
  ['identifiers of 36 characters', arrayOf((at) => `"${String(at).padStart(36, '0')}"`, 1_048_576)],
  ['50,000 integers', JSON.stringify(Array.from({ length: 50_000 }, (_, at) => at * 1_001))],
  ['50,000 fractions', JSON.stringify(Array.from({ length: 50_000 }, (_, at) => Math.sin(at)))],
  ['rows of 1 MB', arrayOf((at) => JSON.stringify(row(at)), 1_048_576)],
  [
    'rows of 1 MB with blanks',
    JSON.stringify(
      Array.from({ length: 6_000 }, (_, at) => row(at)),
      undefined,
      2,
    ),
  ],
])('a body of %s is read', (_, text) => {
  expect(costsMore(text, MAX_UNASKED_COST)).toBe(false);
});
