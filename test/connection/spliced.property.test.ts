import fc from 'fast-check';
import { expect, test } from 'vitest';
import { spliced } from '../../src/connection/calls/spliced.js';

/** A value as it is written, and what becomes of it. */
interface Node {
  /** Of an object: its members. */
  readonly members?: readonly (readonly [string, Node])[];
  /** Of another value. */
  readonly text?: string;
  readonly fate: 'stays' | 'goes' | 'isUndefined' | 'isOther' | 'isCopied';
  readonly other: unknown;
  readonly added: string;
  /** Its first member is written once more. */
  readonly twice: boolean;
  readonly space: string;
}

const NAMES = ['a', 'b', '__proto__', 'toString', '1', 'x"é', ''];
const TEXTS = ['12345678901234567890', '1.0', '-0', String.raw`"\u0061}"`, '[1.0,{"a":[]}]', '[]', 'null'];
const own = {
  fate: fc.constantFrom('stays', 'goes', 'isUndefined', 'isOther', 'isCopied', 'isCopied', 'isCopied'),
  other: fc.constantFrom(1, 'x', null, [1]),
  added: fc.constantFrom('', 'a', 'new', '__proto__', '2'),
  twice: fc.nat(9).map((value) => value === 0),
  space: fc.constantFrom('', ' ', '\n\t'),
};
const node: fc.Arbitrary<Node> = fc.letrec<{ node: Node }>((tie) => ({
  node: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.record({ ...own, text: fc.constantFrom(...TEXTS) }),
    fc.record({
      ...own,
      members: fc.uniqueArray(fc.tuple(fc.constantFrom(...NAMES), tie('node')), {
        selector: ([name]) => name,
        maxLength: 4,
      }),
    }),
  ) as fc.Arbitrary<Node>,
})).node;

const json = JSON.stringify;

function textOf({ members, text, twice, space }: Node): string {
  if (members === undefined) return `${text}`;
  const all = members.map(([name, each]) => `${space}${json(name)}${space}:${space}${textOf(each)}${space}`);
  return `{${space}${(twice ? [...all, ...all.slice(0, 1)] : all).join(',')}}`;
}

/** The value after the change, and how it is to be written, without white space. */
function changed(node: Node, before: unknown): [unknown, string] {
  const { members, fate, other } = node;
  const written = textOf(node).replace(/\s/g, '');
  if (fate === 'isOther') return [other, json(before) === json(other) ? written : json(other)];
  if (fate === 'stays') return [before, written];
  // What is equal and not the same keeps its text, too.
  if (members === undefined) return [structuredClone(before), written];
  const values = new Map<string, unknown>();
  const texts: string[] = [];
  for (const [name, each] of members) {
    if (each.fate === 'isUndefined') values.set(name, undefined);
    if (each.fate === 'isUndefined' || each.fate === 'goes') continue;
    const [value, text] = changed(each, Object.getOwnPropertyDescriptor(before, name)?.value);
    values.set(name, value);
    texts.push(`${json(name)}:${text}`);
  }
  if (node.added !== '' && members.every(([name]) => name !== node.added)) {
    values.set(node.added, 2);
    texts.push(`${json(node.added)}:2`);
  }
  const after = Object.fromEntries(values);
  return [after, node.twice && members.length > 0 ? json(after) : `{${texts.join(',')}}`];
}

test('a text says what has changed, and all else as it came, to the digit, however it is nested', () => {
  fc.assert(
    fc.property(node, (given) => {
      const text = textOf(given);
      const before: unknown = JSON.parse(text);
      const [after, written] = changed(given, before);
      expect(spliced(text, before, after).replace(/\s/g, '')).toBe(written);
    }),
  );
});

test.each([
  ['names once', ''],
  ['a name twice at each level', ',"b":1,"b":1'],
])('a text is gone through once, however deep it is: %s', (_, beside) => {
  const inside = `{"t":"x"${' '.repeat(2_000)}}`;
  const text = '{"a":'.repeat(200) + inside + `${beside}}`.repeat(200);
  const before: unknown = JSON.parse(text);
  const after: unknown = JSON.parse(text.replace('"x"', '"y"'));
  let reads = 0;
  const { charCodeAt } = String.prototype;
  String.prototype.charCodeAt = function (this: string, at: number) {
    reads++;
    return charCodeAt.call(this, at);
  };
  try {
    expect(JSON.parse(spliced(text, before, after))).toEqual(after);
  } finally {
    String.prototype.charCodeAt = charCodeAt;
  }
  expect(reads).toBeLessThan(2 * text.length);
});
