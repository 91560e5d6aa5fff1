import { expect, test } from 'vitest';
import { ModernHeaders } from '../../../src/gateway/stdio/modernHeaders.js';
import { collectGarbage } from '../../support/collectGarbage.js';

const VERSION = '2026-07-28';

/** An answer to `tools/list`, as its text comes. */
const listed = (name: string, { description = '', path = 'region' } = {}): string =>
  JSON.stringify({
    jsonrpc: '2.0',
    id: 1,
    result: {
      tools: [
        {
          name,
          description,
          inputSchema: { type: 'object', properties: { [path]: { type: 'string', 'x-mcp-header': 'Region' } } },
        },
      ],
    },
  });

const headerOf = (modern: ModernHeaders, name: string, path = 'region'): string | undefined =>
  modern.of(VERSION, 'tools/call', { name, arguments: { [path]: 'eu' } })['mcp-param-region'];

test('of tools of any size nothing is kept but what names headers', () => {
  const modern = new ModernHeaders();
  const description = 'x'.repeat(2 ** 20);
  modern.learn(listed('first', { description }));
  const before = collectGarbage();
  for (let i = 0; i < 60; i++) modern.learn(listed(`tool ${i}`, { description: `${i}${description}` }));
  // Not the 60 MB of descriptions; the process, which other tests share, may take some of its own.
  expect(collectGarbage() - before).toBeLessThan(30 * 2 ** 20);
  for (let i = 0; i < 60; i++) expect(headerOf(modern, `tool ${i}`)).toBe('eu');
  expect(headerOf(modern, 'first')).toBe('eu');
});

test('names of any length are kept within one bound: the oldest make room, one beyond it takes none', () => {
  const modern = new ModernHeaders();
  const path = 'p'.repeat(100_000);
  for (let i = 0; i < 100; i++) modern.learn(listed(`tool ${i}`, { path }));
  modern.learn(listed('huge', { path: 'p'.repeat(2 ** 20) }));
  const known = Array.from({ length: 100 }, (_, i) => headerOf(modern, `tool ${i}`, path) === 'eu');
  // 200 kB each, of 8 MiB.
  expect(known.indexOf(true)).toBe(59);
  expect(known.lastIndexOf(false)).toBe(58);
  expect(headerOf(modern, 'huge', 'p'.repeat(2 ** 20))).toBeUndefined();
  for (let i = 0; i < 1_000; i++) modern.learn(listed('tool 99', { path }));
  expect(headerOf(modern, 'tool 60', path)).toBe('eu');
});
