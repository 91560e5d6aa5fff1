import { isObject } from '../../connection/protocol/objectOf.js';
import type { ListItems } from '../../pool/McpPool.js';

type Schema = Readonly<Record<string, unknown>>;

interface Walk {
  /** What was found to be schemas, each with how many there are in it. */
  readonly sizes: Map<unknown, number>;
  /** References, each with how often it stands there. */
  readonly refs: Map<string, number>;
  refChars: number;
  patternChars: number;
  /** Objects and lists that stand under no keyword. */
  others: number;
}

/** Whether that may stand under a keyword. */
type Rule = (value: unknown, walk: Walk, own: Schema) => boolean;

/** Schemas in one, those that references stand for included: official clients make a program of it, whose size this is. */
const MAX_SCHEMAS = 10_000;

const is =
  (type: 'string' | 'number' | 'boolean'): Rule =>
  (value) =>
    typeof value === type;
const never: Rule = () => false;
const anything: Rule = () => true;

/** Of all patterns of a schema. */
const MAX_PATTERN_CHARS = 10_000;
/** An escape; of one of a Unicode property, which has one. */
const ESCAPE = /\\(?:[pP]\{([^{}]{1,64})\}|.)/gsu;
/** Properties that there are: as many as the standard has, at most. */
const properties = new Set<string>();

const isRegex = (source: string): boolean => {
  try {
    return new RegExp(source, 'u') !== undefined;
  } catch {
    return false;
  }
};
/** Node makes a class of all its characters of each property that stands in a pattern, which takes 40 us: it is looked up once, and `\w` may stand where it may. */
const cheap = (text: string, property?: string): string => {
  if (property === undefined) return text;
  if (!properties.has(property)) {
    if (!isRegex(text)) return text;
    properties.add(property);
  }
  return '\\w';
};
const regex: Rule = (value, walk) => {
  if (typeof value !== 'string') return false;
  walk.patternChars += value.length;
  return walk.patternChars <= MAX_PATTERN_CHARS && isRegex(value.replace(ESCAPE, cheap));
};

const TYPES: readonly unknown[] = ['string', 'number', 'integer', 'boolean', 'null', 'object', 'array'];
const type: Rule = (value) =>
  TYPES.includes(value) || (Array.isArray(value) && value.length > 0 && value.every((each) => TYPES.includes(each)));
const nullable: Rule = (value, _, { type: own }) =>
  own !== undefined && (value === true || (value === false && !String(own).includes('null')));

const texts: Rule = (value) => Array.isArray(value) && value.every((each) => typeof each === 'string');
const schema: Rule = (value, walk) => typeof value === 'boolean' || (isObject(value) && isSchema(value, walk));
const all = (rule: Rule, values: readonly unknown[], walk: Walk, own: Schema): boolean =>
  values.every((each) => rule(each, walk, own));
const schemas: Rule = (value, walk, own) => Array.isArray(value) && all(schema, value, walk, own);
const oneOrMore: Rule = (value, walk, own) => (Array.isArray(value) ? schemas : schema)(value, walk, own);
const members: Rule = (value, walk, own) => isObject(value) && all(schema, Object.values(value), walk, own);
const patterns: Rule = (value, walk, own) =>
  members(value, walk, own) && all(regex, Object.keys(value as Schema), walk, own);
const textsOrSchema: Rule = (value, walk, own) => (Array.isArray(value) ? texts : schema)(value, walk, own);
const dependencies: Rule = (value, walk, own) => isObject(value) && all(textsOrSchema, Object.values(value), walk, own);

/** Within the schema. Beyond it stand the schemas of other tools, of other servers too, or nothing. */
const LOCAL = /^#(?:\/[\w$.~-]+)*$/;
/** Of all references that are not the same: to look one up takes 50 ns for each. */
const MAX_REF_CHARS = 100_000;
const reference: Rule = (value, walk) => {
  if (typeof value !== 'string') return false;
  const count = walk.refs.get(value) ?? 0;
  walk.refs.set(value, count + 1);
  if (count === 0) walk.refChars += value.length;
  return count > 0 || (walk.refChars <= MAX_REF_CHARS && LOCAL.test(value));
};

/** Clients keep schemas by these, those of all servers together. */
const NAMES: readonly string[] = ['$id', '$anchor', '$dynamicAnchor'];
const MAX_OTHERS = 10_000;
/** Of a keyword that is none: clients look for names in it. */
const unnamed: Rule = (value, walk, own) =>
  typeof value !== 'object' ||
  value === null ||
  (++walk.others <= MAX_OTHERS &&
    !NAMES.some((key) => typeof (value as Schema)[key] === 'string') &&
    all(unnamed, Object.values(value), walk, own));

const table: readonly (readonly [Rule, readonly string[]])[] = [
  [
    never,
    [...NAMES, 'id', '$async', 'formatMinimum', 'formatMaximum', 'formatExclusiveMinimum', 'formatExclusiveMaximum'],
  ],
  [anything, ['const', 'default']],
  [reference, ['$ref']],
  [type, ['type']],
  [nullable, ['nullable']],
  [is('number'), ['maximum', 'minimum', 'exclusiveMaximum', 'exclusiveMinimum', 'multipleOf']],
  [is('number'), ['maxLength', 'minLength', 'maxItems', 'minItems', 'maxProperties', 'minProperties']],
  [is('boolean'), ['uniqueItems']],
  [regex, ['pattern']],
  [(value) => typeof value === 'string' && !(value in {}), ['format']],
  [texts, ['required']],
  [(value) => Array.isArray(value) && value.length > 0, ['enum']],
  [schema, ['additionalItems', 'contains', 'propertyNames', 'additionalProperties', 'not', 'if', 'then', 'else']],
  [oneOrMore, ['items']],
  [schemas, ['allOf', 'anyOf', 'oneOf']],
  [members, ['properties', 'definitions', '$defs']],
  [patterns, ['patternProperties']],
  [dependencies, ['dependencies']],
];
const RULES = new Map(table.flatMap(([rule, keys]) => keys.map((key) => [key, rule] as const)));

/**
 * Whether official clients can make a validator of that (Ajv, draft-07): they make those of all tools together, and one that they cannot
 * make takes all with it. What names itself is none: clients would keep it for another server's of that name. One walk, which makes nothing.
 */
export function isValidatable(value: unknown): boolean {
  const walk: Walk = { sizes: new Map(), refs: new Map(), refChars: 0, patternChars: 0, others: 0 };
  if (!schema(value, walk, {})) return false;
  let size = walk.sizes.size;
  return [...walk.refs].every(([ref, count]) => {
    const named = at(value, ref);
    size += count * (walk.sizes.get(named) ?? MAX_SCHEMAS);
    // One that stands for another may stand for itself.
    return size < MAX_SCHEMAS && !Object.hasOwn(named as Schema, '$ref');
  });
}

/** A tool as legacy clients take it: what it gives is an object, or nothing is said of it. */
export function givingObjects(tool: ListItems['tools']): ListItems['tools'] {
  const { outputSchema, ...rest } = tool;
  return outputSchema === undefined || outputSchema['type'] === 'object' ? tool : rest;
}

function isSchema(own: Schema, walk: Walk): boolean {
  const before = walk.sizes.size;
  walk.sizes.set(own, 1);
  if (before >= MAX_SCHEMAS) return false;
  for (const key of Object.keys(own)) if (!(RULES.get(key) ?? unnamed)(own[key], walk, own)) return false;
  walk.sizes.set(own, walk.sizes.size - before);
  return true;
}

/** What a reference within `root` names. */
function at(root: unknown, ref: string): unknown {
  let value = root;
  for (const step of ref.split('/').slice(1)) {
    const key = step.replaceAll('~1', '/').replaceAll('~0', '~');
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
    value = (value as Schema)[key];
  }
  return value;
}
