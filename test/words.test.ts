import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';

const ROOT = resolve(import.meta.dirname, '..');

/** Words that make a reader guess who is meant: the house names the part, the caller or the server. */
const VAGUE = /\b(nobody|somebody|whoever|he|him|his|at the most)\b/i;

const vagueLines = (folder: string, ending: string): string[] =>
  readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith(ending))
    .flatMap((file) => vagueIn(join(folder, file)));

const vagueIn = (file: string): string[] =>
  readFileSync(join(ROOT, file), 'utf8')
    .split('\n')
    .flatMap((line, i) => (VAGUE.test(line) ? [`${file}:${i + 1} ${line.trim()}`] : []));

test('comments and messages name who is meant, in plain English', () => {
  expect(vagueLines('src', '.ts')).toEqual([]);
  expect(VAGUE.test('Whoever holds it')).toBe(true);
});

test('so do the guides, the decisions and what else is read by users', () => {
  expect(vagueLines('docs', '.md')).toEqual([]);
  expect(vagueLines('examples', '.md')).toEqual([]);
  for (const file of ['README.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md']) expect(vagueIn(file)).toEqual([]);
});
