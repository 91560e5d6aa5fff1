import { expect, test } from 'vitest';
import { trendOf } from '../../../bench/soak/slope.js';

test('a trend is what most of the samples say: peaks do not move it, a leak does', () => {
  expect(trendOf([5, 5, 90, 5, 5, 5, 5]).growth).toBe(0);
  expect(trendOf([10, 12, 14, 99, 18, 20])).toEqual({ first: 10, last: 20, growth: 10 });
  expect(trendOf([])).toEqual({ first: 0, last: 0, growth: 0 });
  expect(trendOf([7]).growth).toBe(0);
});
