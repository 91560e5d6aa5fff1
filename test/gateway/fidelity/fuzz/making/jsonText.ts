import type { Dice } from './Dice.js';

/** JSON as text, with what parsers differ in: numbers no double holds, names twice, half characters, depth, size. */

const NUMBERS = [
  '0',
  '-0',
  '1.0',
  '1e400',
  '-1e-400',
  '9007199254740993',
  '725653563933458433',
  '1E+2',
  '0.1e1',
  '3.5',
];
const NAMES = [
  '__proto__',
  'constructor',
  'toString',
  'prototype',
  'hasOwnProperty',
  'a',
  '',
  'jsonrpc',
  '_meta',
  'then',
];
const STRINGS = [
  '""',
  '"\\ud800"',
  '"\\udfff\\ud800"',
  '"\\u0000"',
  '"\\u2028\\n"',
  '"漢字"',
  '"\\u0041"',
  '"__proto__"',
  '"%00"',
  '"../.."',
];
/** Not JSON, where a reader may think it is. */
const BROKEN = [
  'NaN',
  '01',
  '+1',
  "'a'",
  'undefined',
  '{a:1}',
  '[1,]',
  '{"a":1,}',
  '"\n"',
  '"\\x"',
  '1.',
  'tru',
  '\u00a0',
  '/**/1',
];

export const nested = (levels: number, open: string, close: string): string =>
  open.repeat(levels) + close.repeat(levels);

export function stringText(dice: Dice): string {
  return dice.made(
    () => dice.of(...STRINGS),
    () => JSON.stringify(dice.text(30)),
    () => JSON.stringify('x'.repeat(dice.of(1, 100, 10_000, 70_000))),
  );
}

export function numberText(dice: Dice): string {
  return dice.made(
    () => dice.of(...NUMBERS),
    () => String(dice.below(1_000)),
    () => '9'.repeat(dice.of(20, 400, 5_000)),
  );
}

/** Any value. `depth` bounds what is inside. */
export function valueText(dice: Dice, depth = 3): string {
  if (dice.once(500)) return dice.of(...BROKEN);
  const leaf = [
    () => numberText(dice),
    () => stringText(dice),
    () => dice.of('null', 'true', 'false', '{}', '[]', '[[],{}]'),
  ];
  const deep = [
    () => objectText(dice, depth - 1),
    () => `[${list(dice, () => valueText(dice, depth - 1))}]`,
    () => (dice.once(4) ? hugeText(dice) : objectText(dice, depth - 1)),
  ];
  return depth <= 0 ? dice.made(...leaf) : dice.made(...leaf, ...deep);
}

/** Much of one thing. */
function hugeText(dice: Dice): string {
  return dice.made(
    () => nested(dice.of(50, 1_000, 20_000), '[', ']'),
    () => `${'{"a":'.repeat(dice.of(50, 1_000, 10_000))}1${'}'.repeat(50)}`,
    () => {
      const levels = dice.of(50, 1_000, 10_000);
      return `${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`;
    },
    () => `[${'[],'.repeat(dice.of(10, 1_000, 30_000))}0]`,
    () => `{${Array.from({ length: dice.of(10, 1_000) }, (_, i) => `"k${i}":${i}`).join(',')}}`,
  );
}

export function objectText(dice: Dice, depth: number): string {
  const member = (): string =>
    `${dice.once(3) ? stringText(dice) : JSON.stringify(dice.of(...NAMES))}:${valueText(dice, depth)}`;
  return `{${list(dice, member)}}`;
}

const list = (dice: Dice, item: () => string): string => Array.from({ length: dice.below(4) }, item).join(',');

/** Members in any order, sometimes one twice, with any white space JSON allows between. */
export function membersText(dice: Dice, members: readonly (readonly [name: string, text: string])[]): string {
  const all = [...members];
  if (dice.once(25) && all.length > 0) {
    const [name] = all[dice.below(all.length)] as readonly [string, string];
    all.push([name, valueText(dice, 1)]);
  }
  if (dice.once(4)) all.sort(() => (dice.once(2) ? 1 : -1));
  const space = dice.once(5) ? () => dice.of('', ' ', '\n', '\r\n', '\t', '  ') : () => '';
  const written = all.map(([name, text]) => {
    const key = dice.once(40)
      ? `"\\u00${name.charCodeAt(0).toString(16).padStart(2, '0')}${name.slice(1)}"`
      : JSON.stringify(name);
    return `${space()}${key}${space()}:${space()}${text}${space()}`;
  });
  return `${space()}{${written.join(',')}}${space()}`;
}

/** The text with a piece lost, doubled, or replaced. */
export function damaged(dice: Dice, text: string): string {
  const from = dice.below(text.length + 1);
  const to = Math.min(text.length, from + dice.of(1, 1, 2, 10, text.length));
  return dice.made(
    () => text.slice(0, from),
    () => text.slice(0, from) + text.slice(to),
    () => text.slice(0, to) + text.slice(from),
    () => text.slice(0, from) + dice.text(6) + text.slice(to),
    () => text + text,
    () => `\ufeff${text}`,
  );
}
