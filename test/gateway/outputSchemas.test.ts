import { AjvJsonSchemaValidator } from '@modelcontextprotocol/sdk/validation/ajv-provider.js';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { validItems } from '../../src/gateway/aggregate/lists/validItems.js';
import { isValidatable } from '../../src/gateway/aggregate/outputSchema.js';
import { RUNS } from '../support/runs.js';

// Unknown formats.
beforeAll(() => void vi.spyOn(console, 'warn').mockReturnValue());
afterAll(() => void vi.restoreAllMocks());

/** What the first official client says of a list with that: it makes one validator for all tools. */
function refusalOf(schema: unknown, client = new AjvJsonSchemaValidator()): string | undefined {
  try {
    client.getValidator(schema as object);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

const S = { type: 'string' };
/** What each keyword may say. */
const RIGHT: Readonly<Record<string, readonly unknown[]>> = {
  type: ['object', ['string', 'null']],
  $ref: ['#', '#/$defs/a~1b', '#/$defs/x'],
  enum: [[1], [null, { $id: 'a' }]],
  const: [null, { $id: 'a' }],
  default: [null, { $id: 'a' }],
  pattern: ['^a', '\\p{L}'],
  format: ['date-time', 'none-such'],
  required: [[], ['a']],
  uniqueItems: [true],
  items: [S, true, [S, true]],
  prefixItems: [[S]],
  properties: [{}, { id: S, $id: S, a: true, constructor: S }],
  patternProperties: [{ '^a': S }],
  dependencies: [{ a: ['b'], b: S, c: true }],
  definitions: [{ a: S }],
  nullable: [true, false],
  title: ['a'],
  examples: [[1]],
  $comment: ['a'],
  additionalProperties: [false, S],
  anyOf: [[S, { $ref: '#' }]],
  not: [S],
  maximum: [1],
};
/** Each of a kind of its own; more of the same kinds follow. */
const KINDS = Object.keys(RIGHT);
for (const key of ['allOf', 'oneOf']) Object.assign(RIGHT, { [key]: RIGHT['anyOf'] });
for (const key of ['additionalItems', 'contains', 'propertyNames', 'if', 'then', 'else'])
  Object.assign(RIGHT, { [key]: RIGHT['not'] });
for (const key of [
  'maximum',
  'minimum',
  'exclusiveMaximum',
  'exclusiveMinimum',
  'multipleOf',
  'maxLength',
  'minLength',
])
  Object.assign(RIGHT, { [key]: [1] });
for (const key of ['maxItems', 'minItems', 'maxProperties', 'minProperties']) Object.assign(RIGHT, { [key]: [1] });

const NAMES = ['$id', 'id', '$anchor', '$dynamicAnchor', '$async', 'formatMinimum', 'formatExclusiveMaximum'];
const ODD = [
  ...[
    null,
    true,
    0,
    -1,
    1.5,
    1e300,
    '',
    'odd',
    '(',
    '\\',
    '#/',
    '#a',
    '#/none',
    '#/constructor',
    '#/$defs',
    '#/$defs/x',
  ],
  ...['http://a/b', 'b#/c', '__proto__', 'constructor', [], [null], [1], ['a'], [[]], [{}], {}, { a: null }, { a: 1 }],
  ...[{ a: [1] }, { '(': true }, { $id: 'a' }, { a: { $anchor: 'a' } }, [{ $id: 'a' }], JSON.parse('{"__proto__":1}')],
];

const whole = (key: string, value: unknown) => ({
  type: 'object',
  properties: { x: { type: 'string', [key]: value } },
  $defs: { 'a/b': S, x: {} },
});

test('what each keyword may say passes', () => {
  for (const [key, values] of Object.entries(RIGHT)) {
    for (const value of values) {
      const said = JSON.stringify({ [key]: value });
      expect([said, isValidatable(whole(key, value)), refusalOf(whole(key, value))]).toEqual([said, true, undefined]);
    }
  }
});

test('of many hundred odd keywords none passes that official clients refuse', () => {
  const client = new AjvJsonSchemaValidator();
  let refused = 0;
  for (const key of [...KINDS, ...NAMES, 'x', 'contentSchema']) {
    for (const value of ODD) {
      const schema = whole(key, value);
      if (!isValidatable(schema)) refused++;
      else expect([JSON.stringify(schema), refusalOf(schema, client)]).toEqual([JSON.stringify(schema), undefined]);
    }
  }
  expect(refused).toBeGreaterThan(500);
});

test('nor does any mixture of them', () => {
  const keys = fc.constantFrom(...Object.keys(RIGHT), ...NAMES, 'x');
  const { schema } = fc.letrec((tie) => ({
    schema: fc.oneof(
      { weight: 2, arbitrary: fc.constantFrom<unknown>(S, true, { $ref: '#/properties/a' }) },
      fc.dictionary(keys, fc.oneof({ weight: 3, arbitrary: tie('right') }, fc.constantFrom(...ODD)), { maxKeys: 3 }),
      fc.record({ type: fc.constant('object'), properties: fc.dictionary(fc.constantFrom('a', 'b'), tie('schema')) }),
    ),
    right: fc.oneof(
      { weight: 2, arbitrary: fc.constantFrom(...Object.values(RIGHT).flat()) },
      tie('schema'),
      fc.array(tie('schema'), { maxLength: 2 }),
      fc.dictionary(fc.constantFrom('a', '$id', '(', '__proto__'), tie('schema'), { maxKeys: 2 }),
    ),
  }));
  let passed = 0;
  fc.assert(
    fc.property(schema, (given) => {
      const value: unknown = JSON.parse(JSON.stringify(given));
      if (typeof value !== 'object' || !isValidatable(value)) return;
      passed++;
      expect(refusalOf(value)).toBeUndefined();
    }),
    { numRuns: RUNS },
  );
  expect(passed).toBeGreaterThan(RUNS / 10);
});

test('a pattern is one where Node says so, whatever properties stand in it, and all of a schema have 10,000 characters', () => {
  const parts = [
    '\\p{L}',
    '\\P{Script=Greek}',
    '\\p{Nope}',
    '\\p',
    '\\\\',
    '[',
    ']',
    'a',
    '-',
    'z',
    '{',
    '}',
    '(',
    ')',
    '+',
  ];
  const isPattern = (pattern: string): boolean => isValidatable({ type: 'object', pattern });
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...parts), { maxLength: 8 }), (chosen) => {
      const pattern = chosen.join('');
      let right = true;
      try {
        new RegExp(pattern, 'u');
      } catch {
        right = false;
      }
      expect([pattern, isPattern(pattern)]).toEqual([pattern, right]);
    }),
    { numRuns: RUNS },
  );
  expect([isPattern('a'.repeat(10_000)), isPattern('a'.repeat(10_001))]).toEqual([true, false]);
  const half = { pattern: 'a'.repeat(5_001) };
  expect(isValidatable({ type: 'object', properties: { a: half, b: half } })).toBe(false);
});

test('references are looked up once each, and have 100,000 characters', () => {
  const deep = (steps: number): string => `#/definitions/d${'/not'.repeat(steps)}`;
  const withRefs = (count: number, steps: number): boolean => {
    const properties = Array.from({ length: count }, (_, at) => [`p${at}`, { $ref: deep(at % steps) }]);
    const d = Array.from({ length: steps }).reduce((not) => ({ not }), {});
    return isValidatable({ type: 'object', definitions: { d }, properties: Object.fromEntries(properties) });
  };
  expect([withRefs(100, 100), withRefs(300, 1), withRefs(300, 300)]).toEqual([true, true, false]);
});

test('what stands under no keyword has 10,000 objects', () => {
  const own = (count: number) => isValidatable({ type: 'object', examples: Array.from({ length: count }, () => ({})) });
  expect([own(9_999), own(10_000)]).toEqual([true, false]);
});

test('a schema that would be a very large program, by references that each stand for much, is left out', () => {
  const many = (count: number, value: unknown) =>
    Object.fromEntries(Array.from({ length: count }, (_, at) => [`p${at}`, value]));
  const large = { properties: many(200, S) };
  const schema = (refs: number): unknown => {
    const properties = many(refs, { $ref: '#/$defs/large' });
    return JSON.parse(JSON.stringify({ type: 'object', properties, $defs: { large } }));
  };
  expect([isValidatable(schema(40)), isValidatable(schema(60))]).toEqual([true, false]);
  expect(isValidatable(JSON.parse(JSON.stringify({ properties: many(10_000, {}) })))).toBe(false);
  // A reference that stands for itself.
  const loop = { properties: { a: { $ref: '#/$defs/a' } }, $defs: { a: { $ref: '#/$defs/a' } } };
  expect([isValidatable(loop), refusalOf(loop)]).toEqual([false, expect.stringContaining('stack')]);
});

test('a tool whose outputSchema is none is listed without it', async () => {
  const inputSchema = { type: 'object' };
  const ok = { name: 'ok', inputSchema, outputSchema: { type: 'object', properties: { a: S } } };
  const list = { name: 'list', inputSchema, outputSchema: { type: 'array', items: S } };
  const bad = { name: 'bad', inputSchema, outputSchema: { type: 'object', properties: { a: { type: 'text' } } } };
  const { items, problems } = await validItems('tools', [ok, list, bad] as never);
  expect(items).toEqual([ok, list, { name: 'bad', inputSchema }]);
  expect(problems).toEqual(['tools[2] "bad": its outputSchema: not of a type that clients take']);
});
