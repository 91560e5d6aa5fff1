import { expect, test } from 'vitest';
import { mergedHints } from '../../src/gateway/aggregate/lists/pages.js';
import { NO_INDEX } from '../../src/gateway/aggregate/uris/ListIndex.js';
import { fits, parseUriTemplate } from '../../src/gateway/aggregate/uris/uriTemplates.js';

test('what is said of several lists together holds of each', () => {
  const list = (ttlMs?: number, cacheScope?: 'public' | 'private', missing = false) =>
    ({ server: 's', items: [], index: NO_INDEX, hints: { ttlMs, cacheScope }, missing }) as const;
  expect(mergedHints([list(500, 'public'), list(90, 'public')])).toEqual({ ttlMs: 90, cacheScope: 'public' });
  expect(mergedHints([list(500, 'public'), list(90, 'private')])).toEqual({ ttlMs: 90, cacheScope: 'private' });
  expect(mergedHints([list(500, 'public'), list()])).toEqual({ ttlMs: 0, cacheScope: 'private' });
  expect(mergedHints([list(500, 'public', true)])).toEqual({ ttlMs: 0, cacheScope: 'private' });
  expect(mergedHints([])).toEqual({ ttlMs: 0, cacheScope: 'private' });
});

test('a URI fits what a template can expand to, and nothing else', () => {
  const cases = [
    ['file:///{path}', 'file:///a', true],
    ['file:///{path}', 'file:///a/b', false],
    ['file:///{+path}', 'file:///a/b', true],
    ['file:///{path}', 'file:///', false],
    ['db://t{/row}{?q}', 'db://t/1?q=2', true],
    ['db://t{/row}{?q}', 'db://t', true],
    ['a{x}a', 'a', false],
    ['', '', true],
  ] as const;
  for (const [template, uri, fit] of cases)
    expect([template, uri, fits(parseUriTemplate(template), uri, { left: 1_000_000 })]).toEqual([template, uri, fit]);
});
