import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';

const src = resolve(import.meta.dirname, '../src');

/**
 * A repetition in a repetition may try each way of dividing a text among both: 2^n steps for n characters. These may not, since each round
 * begins with what the one before cannot end with.
 */
const LINEAR = [
  'auth/net/lenientTokens.ts: (&[\\w.%+-]+=[^&]*)*',
  `connection/channel/unread/idsInGarbage.ts: (?:(?:\${VERSION}|\${ID}),\\s*)*`,
  'gateway/aggregate/outputSchema.ts: (?:\\/[\\w$.~-]+)*',
  `registry/config/shapes/readToml.ts: (?:\\s*\\.\\s*\${PART})*`,
];

test('no pattern repeats what repeats', () => {
  const found: string[] = [];
  for (const file of readdirSync(src, { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.ts')) continue;
    for (const pattern of patternsIn(readFileSync(join(src, file), 'utf8')))
      found.push(...nested(pattern).map((part) => `${file}: ${part}`));
  }
  expect(found.sort()).toEqual(LINEAR);
});

/** What stands between slashes where a value may, and the texts that patterns are made of. */
const patternsIn = (source: string): string[] => [
  ...[...source.matchAll(/(?<=[=(,:[!&|?+>\n] *|return )\/(?![*/])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\[\n])+\//g)].map(
    ([all]) => all,
  ),
  ...[...source.matchAll(/String\.raw`([^`]*)`/g)].map(([, text = '']) => text),
];

const UNBOUNDED = /^(?:[*+]|\{\d+,\})/;

/** The groups of a pattern that repeat without a bound and have such a repetition, or a pattern of another place, in them. */
function nested(pattern: string): string[] {
  const found: string[] = [];
  const groups = [{ start: 0, repeats: false }];
  for (let i = 0; i < pattern.length; i++) {
    const inner = groups.at(-1) as { start: number; repeats: boolean };
    const rest = pattern.slice(i);
    const skipped = /^(?:\\.|\[(?:\\.|[^\]\\])*\]|\$\{\w+\})/s.exec(rest)?.[0];
    if (skipped !== undefined) {
      i += skipped.length - 1;
      if (skipped.startsWith('${')) inner.repeats = true;
    } else if (rest.startsWith('(')) groups.push({ start: i, repeats: false });
    else if (rest.startsWith(')') && groups.length > 1) {
      groups.pop();
      const again = UNBOUNDED.exec(rest.slice(1))?.[0];
      if (again !== undefined && inner.repeats) found.push(pattern.slice(inner.start, i + 1) + again);
      if (again !== undefined || inner.repeats) (groups.at(-1) as { repeats: boolean }).repeats = true;
    } else if (UNBOUNDED.test(rest)) inner.repeats = true;
  }
  return found;
}
