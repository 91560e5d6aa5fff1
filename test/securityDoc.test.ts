import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import * as auth from '../src/auth/index.js';
import * as concurrent from '../src/concurrent/index.js';
import * as gateway from '../src/gateway/index.js';
import * as observe from '../src/observe/index.js';
import * as pool from '../src/pool/index.js';
import * as registry from '../src/registry/index.js';
import * as toolstore from '../src/toolstore/index.js';

const ROOT = resolve(import.meta.dirname, '..');
const DOC = readFileSync(join(ROOT, 'docs/security.md'), 'utf8');
const CONSTANTS: Readonly<Record<string, unknown>> = {
  ...auth,
  ...concurrent,
  ...gateway,
  ...observe,
  ...pool,
  ...registry,
  ...toolstore,
};

/** Bounds that are no defence against anybody: they are about a user's own calls, or are numbers of another kind. */
const OTHERS = new Set(['maxConcurrentCreates']);

/** As the page writes it: bytes in binary units, times in the largest that is whole. */
function written(option: string, value: number): string {
  if (value === Number.POSITIVE_INFINITY) return 'none';
  const units: [string, number][] = option.endsWith('Bytes')
    ? [
        ['MiB', 2 ** 20],
        ['KiB', 2 ** 10],
        ['B', 1],
      ]
    : option.endsWith('Ms')
      ? [
          ['h', 3_600_000],
          ['min', 60_000],
          ['s', 1_000],
          ['ms', 1],
        ]
      : [];
  // A minute is said as 60 s where others beside it are of seconds.
  const hit = units.find(([unit, size]) => value % size === 0 && (unit === 'min' ? value > size : value >= size));
  return hit === undefined ? value.toLocaleString('en-US') : `${(value / hit[1]).toLocaleString('en-US')} ${hit[0]}`;
}

interface Row {
  readonly constant: string;
  readonly option: string;
  readonly standard: string;
  readonly file: string;
}

const rows: readonly Row[] = [...DOC.matchAll(/^### [^\n]*: `(\w+_DEFAULTS)`\n([\s\S]*?)(?=^#)/gm)].flatMap(
  ([, constant = '', table = '']) =>
    [...table.matchAll(/^\| `(\w+)` \| ([^|]*) \| [^|]* \| `([^`]*)` \|$/gm)].map(
      ([, option = '', standard = '', file = '']) => ({
        constant,
        option,
        standard,
        file,
      }),
    ),
);

test('the tables of bounds name options that exist, with their defaults, and test files that name them', () => {
  expect(rows.length).toBeGreaterThan(35);
  const wrong = rows.flatMap(({ constant, option, standard, file }) => {
    const value = (CONSTANTS[constant] as Readonly<Record<string, unknown>> | undefined)?.[option];
    if (typeof value !== 'number') return [`${constant}.${option} does not exist`];
    const problems =
      written(option, value) === standard
        ? []
        : [`${constant}.${option}: ${standard}, but it is ${written(option, value)}`];
    const path = join(ROOT, file);
    if (!existsSync(path)) problems.push(`${file} does not exist`);
    else if (!new RegExp(`\\b${option}\\b`).test(readFileSync(path, 'utf8')))
      problems.push(`${file} does not name ${option}`);
    return problems;
  });
  expect(wrong).toEqual([]);
});

test('every bound of these constants is in its table', () => {
  const missing = [...new Set(rows.map(({ constant }) => constant))].flatMap((constant) => {
    const named = new Set(rows.filter((row) => row.constant === constant).map(({ option }) => option));
    return Object.keys(CONSTANTS[constant] as object)
      .filter((option) => /^max|Max|Bytes$/.test(option) && !OTHERS.has(option) && !named.has(option))
      .map((option) => `${constant}.${option}`);
  });
  expect(missing).toEqual([]);
});

test('every test file and source file that the page names exists', () => {
  const named = [...DOC.matchAll(/`((?:test|src)\/[\w./-]+)`/g)].map(([, path = '']) => path);
  expect(named.length).toBeGreaterThan(50);
  expect(named.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
});
