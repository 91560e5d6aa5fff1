import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';

const SRC = resolve(import.meta.dirname, '../src');

/** Words that make a reader guess who is meant: the house names the part, the caller or the server. */
const VAGUE = /\b(nobody|somebody|whoever|he|him|his|at the most)\b/i;

test('comments and messages name who is meant, in plain English', () => {
  const found = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .flatMap((file) =>
      readFileSync(join(SRC, file), 'utf8')
        .split('\n')
        .flatMap((line, i) => (VAGUE.test(line) ? [`${file}:${i + 1} ${line.trim()}`] : [])),
    );
  expect(found).toEqual([]);
  expect(VAGUE.test('Whoever holds it')).toBe(true);
});
