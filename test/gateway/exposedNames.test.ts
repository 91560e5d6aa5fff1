import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import type { Catalog } from '../../src/gateway/aggregate/lists/Catalog.js';
import { exposedName, prefixIn, prefixOf } from '../../src/gateway/aggregate/lists/exposedNames.js';
import { Names } from '../../src/gateway/aggregate/lists/Names.js';
import { ITEM_BOUNDS, validItems } from '../../src/gateway/aggregate/lists/validItems.js';
import { NO_INDEX } from '../../src/gateway/aggregate/uris/ListIndex.js';
import { Curator } from '../../src/gateway/curation/Curator.js';
import type { Downstream } from '../../src/gateway/endpoint/Endpoint.js';
import { RUNS } from '../support/runs.js';

const ALLOWED = /^[A-Za-z0-9_-]{1,128}$/;
// Few letters, so that what looks alike comes often.
const text = fc.string({
  unit: fc.constantFrom('a', 'b', '_', '-', '.', ' ', 'é', '工', '1'),
  minLength: 1,
  maxLength: 12,
});

test('two originals never share a name, whatever they are called, and each name tells its server', () => {
  fc.assert(
    fc.property(text, text, text, text, (serverA, nameA, serverB, nameB) => {
      const [a, b] = [exposedName(prefixOf(serverA), nameA), exposedName(prefixOf(serverB), nameB)];
      expect(a).toMatch(ALLOWED);
      expect(prefixIn(a)).toBe(prefixOf(serverA));
      expect(a === b).toBe(serverA === serverB && nameA === nameB);
    }),
    { numRuns: Math.max(RUNS, 2_000) },
  );
});

test.each([
  ['a', 'b__c', 'a__b', 'c'],
  ['acme_', 'status', 'acme', '_status'],
  ['my server', 'delete', 'my_server', 'delete'],
  ['工具', 'x', '具工', 'x'],
])('%j %j and %j %j are two names', (serverA, nameA, serverB, nameB) => {
  const [a, b] = [exposedName(prefixOf(serverA), nameA), exposedName(prefixOf(serverB), nameB)];
  expect(a).not.toBe(b);
  expect([a, b].every((name) => ALLOWED.test(name))).toBe(true);
});

test('plain names stay as they are; long ones are cut and still differ', () => {
  expect(exposedName(prefixOf('files'), 'read_file')).toBe('files__read_file');
  const [a, b] = ['x', 'y'].map((end) => exposedName(prefixOf('files'), 'n'.repeat(500) + end));
  expect(a).toHaveLength(128);
  expect(a).not.toBe(b);
});

const good = { name: 'good', inputSchema: { type: 'object' as const } };
function nested(levels: number): object {
  let value: object = {};
  for (let i = 0; i < levels; i++) value = { properties: value };
  return value;
}

test.each([
  ['null', null],
  ['no name', { inputSchema: { type: 'object' } }],
  ['an empty name', { name: '', inputSchema: { type: 'object' } }],
  ['no schema', { name: 'x' }],
  ['a schema of a string', { name: 'x', inputSchema: { type: 'string' } }],
  ['20,000 levels', { name: 'x', inputSchema: { type: 'object', ...nested(20_000) } }],
  [
    'too many values',
    { name: 'x', inputSchema: { type: 'object', enum: new Array(ITEM_BOUNDS.maxValues + 1).fill(1) } },
  ],
  ['the name of another', { ...good }],
])('an item with %s is left out, and only it', async (_, item) => {
  const { items, problems } = await validItems('tools', [good, item as never, { ...good, name: 'other' }]);
  expect(items.map(({ name }) => name)).toEqual(['good', 'other']);
  expect(problems).toHaveLength(1);
});

test('20,000 tools of one name are looked at once each', async () => {
  let reads = 0;
  const tool = {
    inputSchema: { type: 'object' as const },
    get name() {
      reads++;
      return 'same';
    },
  };
  expect((await validItems('tools', new Array(20_000).fill(tool))).items).toHaveLength(1);
  expect(reads).toBeLessThan(20_000 * 8);
});

test('the names and entries of a list are made once for it, however often its pages are asked for', async () => {
  const curator = new Curator({});
  const made = vi.spyOn(curator, 'toolName');
  const items = Array.from({ length: 50 }, (_, i) => ({ name: `é${i}`, inputSchema: { type: 'object' as const } }));
  const catalog = { list: async () => items } as unknown as Catalog<'tools'>;
  const names = new Names('tools', catalog, () => ['s'], { curator: () => curator });
  const lists = [{ server: 's', items, index: NO_INDEX, hints: {}, missing: false }];
  const firstOf = async () => (await names.of(lists))[0]?.entries;
  const first = (await firstOf())?.at(0);
  for (let page = 0; page < 3; page++) expect(await firstOf()).toHaveLength(50);
  expect((await firstOf())?.at(0)).toBe(first);
  expect(await names.named(lists, first?.key ?? '')).toEqual(first);
  expect(await names.named(lists, 's__nothing')).toBeUndefined();
  const session = {} as Downstream;
  expect(await names.find(first?.key ?? '', session)).toEqual({ server: 's', name: 'é0', item: items[0] });
  expect(await names.find('s__nothing', session)).toBeUndefined();
  expect(made).toHaveBeenCalledTimes(50);
});

test('a call waits once for a server that cannot be listed', async () => {
  const list = vi.fn(async () => undefined);
  const catalog = { list, lastErrors: new Map([['s', new Error('silent')]]) } as unknown as Catalog<'tools'>;
  const names = new Names('tools', catalog, () => ['s'], { curator: () => new Curator({}) });
  await expect(names.find('s__echo', {} as Downstream)).rejects.toMatchObject({ code: 'ERR_NOT_SENT' });
  expect(list).toHaveBeenCalledOnce();
});

test('a call of a server of which no error is known, since it was removed meanwhile, is told no more than that', async () => {
  const catalog = { list: async () => undefined, lastErrors: new Map() } as unknown as Catalog<'tools'>;
  const names = new Names('tools', catalog, () => ['s'], { curator: () => new Curator({}) });
  await expect(names.find('s__echo', {} as Downstream)).rejects.toThrow(/its tools could not be listed$/);
});
