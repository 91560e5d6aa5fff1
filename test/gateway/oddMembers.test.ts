import { specTypeSchemas } from '@modelcontextprotocol/client';
import * as v1 from '@modelcontextprotocol/sdk/types.js';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { validItems } from '../../src/gateway/aggregate/lists/validItems.js';
import { mergedInfo } from '../../src/gateway/aggregate/mergedInfo.js';
import { givingObjects } from '../../src/gateway/aggregate/outputSchema.js';
import type { ListKind, ServerInfo } from '../../src/pool/McpPool.js';
import { RUNS } from '../support/runs.js';

/** How the schemas of the two official SDKs find a result. */
const CHECKS = {
  tools: [v1.ListToolsResultSchema, specTypeSchemas.ListToolsResult],
  prompts: [v1.ListPromptsResultSchema, specTypeSchemas.ListPromptsResult],
  resources: [v1.ListResourcesResultSchema, specTypeSchemas.ListResourcesResult],
  resourceTemplates: [v1.ListResourceTemplatesResultSchema, specTypeSchemas.ListResourceTemplatesResult],
  initialize: [v1.InitializeResultSchema, specTypeSchemas.InitializeResult],
  discover: [specTypeSchemas.DiscoverResult],
} as const;

/** What they complain about, of what a client reads. */
const complaints = (of: keyof typeof CHECKS, result: unknown): unknown[] =>
  CHECKS[of].flatMap((schema) => {
    const found = schema['~standard'].validate(JSON.parse(JSON.stringify(result)));
    return 'issues' in found ? (found.issues ?? []) : [];
  });

const SCHEMA = { $schema: 'x', type: 'object', properties: { a: {}, constructor: {} }, required: ['a'] };
const NAMED = {
  name: 'a',
  title: 'A',
  description: 'an a',
  _meta: { a: 1 },
  icons: [{ src: 's', mimeType: 'm', sizes: ['1x1'], theme: 'light' }],
};
const ANNOTATED = {
  ...NAMED,
  mimeType: 'm',
  annotations: { audience: ['user'], priority: 0.5, lastModified: '2024-02-29T10:00:00.5+01:00' },
};
const ITEMS: Readonly<Record<ListKind, object>> = {
  tools: {
    ...NAMED,
    inputSchema: SCHEMA,
    outputSchema: SCHEMA,
    annotations: { title: 't', readOnlyHint: true, destructiveHint: true, idempotentHint: true, openWorldHint: true },
    execution: { taskSupport: 'optional' },
  },
  prompts: { ...NAMED, arguments: [{ name: 'a', title: 't', description: 'd', required: true }] },
  resources: { ...ANNOTATED, uri: 'a://a', size: 1 },
  resourceTemplates: { ...ANNOTATED, uriTemplate: 'a://{a}' },
};

const ODD = fc.constantFrom<unknown[]>(
  null,
  true,
  5,
  -1.5,
  'x',
  [],
  [null],
  ['x', 5],
  [{}],
  {},
  { a: null },
  { a: true },
  '2023-02-29T00:00:00Z',
  '2024-01-01T24:00:00Z',
);

const REQUIRED = ['name', 'uri', 'uriTemplate', 'inputSchema', 'type'];

/** The value with some of its members, or what is in them, odd. */
function oddly(value: unknown): fc.Arbitrary<unknown> {
  if (typeof value !== 'object' || value === null) return fc.oneof({ weight: 12, arbitrary: fc.constant(value) }, ODD);
  const members = Object.entries(value);
  const inner = Array.isArray(value)
    ? fc.tuple(...value.map(oddly))
    : fc.record(Object.fromEntries(members.map(([key, each]) => [key, oddly(each)])), {
        requiredKeys: members.flatMap(([key]) => (REQUIRED.includes(key) ? [key] : [])),
      });
  return fc.oneof({ weight: 12, arbitrary: inner }, ODD);
}

test.each(Object.keys(ITEMS) as ListKind[])('of %s, what official clients would refuse is left out', async (kind) => {
  const whole = ITEMS[kind] as never;
  expect(await validItems(kind, [whole])).toMatchObject({ items: [whole], problems: [] });
  expect(complaints(kind, { [kind]: [whole] })).toEqual([]);
  let kept = 0;
  await fc.assert(
    fc.asyncProperty(oddly(whole), async (item) => {
      const before = JSON.stringify(item);
      const { items } = await validItems(kind, [item as never]);
      kept += items.length;
      const told = kind === 'tools' ? items.map((each) => givingObjects(each as never)) : items;
      expect(complaints(kind, { [kind]: told })).toEqual([]);
      expect(JSON.stringify(item)).toBe(before);
    }),
    { numRuns: RUNS },
  );
  expect(kept).toBeGreaterThan(RUNS / 4);
});

test('an item goes without its odd members, each is told, and `true` is a schema', async () => {
  const icons = [{ src: 's' }, { src: 5 }];
  const inputSchema = { type: 'object', properties: { a: true, b: 5, c: {} } };
  const tool = { name: 'a', description: null, annotations: { title: 't', readOnlyHint: 1 }, icons, inputSchema };
  const huge = { name: 'b', inputSchema: { type: 'object', properties: { a: { maximum: Infinity } } } };
  const { items, problems } = await validItems('tools', [tool, huge] as never);
  expect(items).toEqual([
    {
      name: 'a',
      annotations: { title: 't' },
      icons: [{ src: 's' }],
      inputSchema: { type: 'object', properties: { a: {}, c: {} } },
    },
  ]);
  expect(problems).toEqual([
    'tools[0] "a": its description, icons[].src, icons[], inputSchema.properties[], annotations.readOnlyHint: not of a type that clients take',
    'tools[1] "b": it holds a number that is too large',
  ]);
});

test('a schema of arguments that names no type is one of an object', async () => {
  const schemas = [{}, { $schema: 'https://json-schema.org/draft/2020-12/schema' }, { properties: { a: {} } }];
  const { items, problems } = await validItems(
    'tools',
    schemas.map((inputSchema, at) => ({ name: `t${at}`, inputSchema })) as never,
  );
  expect(items.map(({ inputSchema }) => inputSchema)).toEqual(schemas.map((each) => ({ ...each, type: 'object' })));
  expect(problems).toEqual([]);
});

test('of what servers say of themselves, what official clients would refuse is left out', () => {
  const capabilities = {
    tools: {},
    prompts: {},
    resources: { subscribe: true },
    logging: {},
    completions: {},
    experimental: { a: {} },
    tasks: { list: {}, cancel: {}, requests: { tools: { call: {} } } },
    extensions: { 'io.modelcontextprotocol/ui': { a: 1 }, 'io.modelcontextprotocol/tasks': {} },
  };
  fc.assert(
    fc.property(fc.array(oddly(capabilities), { minLength: 1, maxLength: 3 }), (servers) => {
      for (const era of ['legacy', 'modern'] as const) {
        const known = servers.map((each, at) => ({
          server: `s${at}`,
          info: { era, capabilities: each, instructions: 'x' } as unknown as ServerInfo,
          pending: false,
        }));
        const info = mergedInfo(known, { name: 'n', version: '1' }, era, () => undefined);
        expect(complaints('initialize', { ...info, protocolVersion: '2025-11-25' })).toEqual([]);
        expect(complaints('discover', { ...info, supportedVersions: ['2026-07-28'] })).toEqual([]);
      }
    }),
    { numRuns: RUNS },
  );
});
