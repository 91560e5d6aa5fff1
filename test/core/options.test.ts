import { describe, expect, test } from 'vitest';
import { OptionError } from '../../src/core/errors.js';
import {
  checkBoolean,
  checkBytes,
  checkCount,
  checkFunction,
  checkMs,
  checkOneOf,
  checkRatio,
  checkText,
} from '../../src/core/options.js';

type Check = (option: string, value: unknown) => unknown;

const color: Check = (option, value) => checkOneOf(option, value, ['red', 'green']);
const noop = (): void => undefined;

/** Name, check, what passes, what does not, and the range as the error says it. */
const CHECKS: readonly (readonly [string, Check, readonly unknown[], readonly unknown[], string])[] = [
  [
    'checkCount',
    checkCount,
    [0, 1, Number.MAX_SAFE_INTEGER],
    [Number.NaN, -1, 1.5, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 2 ** 53, '1', undefined, null, 1n, true],
    'a whole number, 0 or more',
  ],
  [
    'checkCount with bounds',
    (option, value) => checkCount(option, value, { min: 1, max: 10 }),
    [1, 10],
    [0, 11, 1.5, Number.NaN, -1, Number.POSITIVE_INFINITY, '5', undefined],
    'a whole number from 1 to 10',
  ],
  [
    'checkCount with Infinity',
    (option, value) => checkCount(option, value, { min: 1, infinity: true }),
    [1, Number.POSITIVE_INFINITY],
    [0, 1.5, Number.NaN, -1, Number.NEGATIVE_INFINITY, 'Infinity', undefined],
    'a whole number, 1 or more, or Infinity',
  ],
  [
    'checkMs',
    checkMs,
    [0, 1.5, 86_400_000],
    [Number.NaN, -1, -0.001, Number.POSITIVE_INFINITY, '1', undefined, null, new Date()],
    'milliseconds, 0 or more',
  ],
  [
    'checkMs with Infinity',
    (option, value) => checkMs(option, value, { min: 1, max: 60_000, infinity: true }),
    [1, 60_000, Number.POSITIVE_INFINITY],
    [0, 60_001, Number.NaN, -1, Number.NEGATIVE_INFINITY, '1', undefined],
    'milliseconds from 1 to 60000, or Infinity',
  ],
  [
    'checkBytes',
    checkBytes,
    [0, 1],
    [Number.NaN, -1, 1.5, Number.POSITIVE_INFINITY, '1', undefined],
    'a whole number of bytes, 0 or more',
  ],
  [
    'checkBytes with Infinity',
    (option, value) => checkBytes(option, value, { infinity: true }),
    [Number.POSITIVE_INFINITY],
    [Number.NaN, -1, 1.5, '1', undefined],
    'a whole number of bytes, 0 or more, or Infinity',
  ],
  [
    'checkRatio',
    checkRatio,
    [0, 0.5, 1],
    [Number.NaN, -1, 1.5, Number.POSITIVE_INFINITY, '1', undefined],
    'a ratio from 0 to 1',
  ],
  ['checkBoolean', checkBoolean, [true, false], [0, 1, 'true', Number.NaN, undefined, null], 'true or false'],
  ['checkText', checkText, ['a', ' '], ['', 1, Number.NaN, undefined, null, ['a']], 'a string that is not empty'],
  ['checkOneOf', color, ['red', 'green'], ['blue', 'RED', '', 1, undefined, ['red']], `one of 'red', 'green'`],
  ['checkFunction', checkFunction, [noop, class {}], [{}, 'f', 1, Number.NaN, undefined, null], 'a function'],
];

describe.each(CHECKS)('%s', (_name, check, good, bad, range) => {
  test.each(good)('hands back %s', (value) => {
    expect(check('someOption', value)).toBe(value);
  });

  test.each(bad.map((value) => [value]))('refuses %s, naming option, value and range', (value) => {
    const thrown = (() => {
      try {
        check('someOption', value);
      } catch (error) {
        return error;
      }
      return undefined;
    })();
    expect(thrown).toBeInstanceOf(OptionError);
    expect(thrown).toMatchObject({ code: 'ERR_OPTION', option: 'someOption', value, expected: range });
    expect((thrown as Error).message).toMatch(/^option someOption: got .+, expected /);
  });
});
